//! Ignored arguments may be of any type.
#![deny(warnings, missing_docs, unreachable_pub, unused)]

use std::{cell::Cell, collections::HashMap, sync::Mutex};

use fleche_core::fleche;

/// Has no encoding.
pub struct Client(&'static str);

/// Borrows, and has no encoding.
pub struct Context<'a>(&'a str);

type Log<'a> = &'a mut Vec<u64>;

/// By value and borrowed.
#[fleche]
pub fn fetched(#[ignore] client: &Client, #[ignore] another: Client, id: u64) -> String {
    format!("{}{}{id}", client.0, another.0)
}

#[fleche(ignore(f, log, same_log, names, context, hidden))]
#[allow(elided_lifetimes_in_paths)]
fn everything(
    f: &dyn Fn(f64) -> f64,
    log: &mut Vec<u64>,
    same_log: Log<'_>,
    names: &[&str],
    context: &Context<'_>,
    hidden: Context,
    x: f64,
) -> f64 {
    log.push(1);
    same_log.push(2);
    f(x) + names.len() as f64 + context.0.len() as f64 + hidden.0.len() as f64
}

#[fleche]
fn generic<T, U: Copy + 'static>(#[ignore] t: T, #[ignore] u: &U, x: u64) -> u64
where
    T: Fn(u64) -> u64 + 'static,
{
    let _ = *u;
    t(x)
}

#[fleche]
fn implied(#[ignore] f: impl Fn(u64) -> u64 + 'static, x: u64) -> u64 {
    f(x)
}

#[fleche]
fn named<'a>(#[ignore] context: &'a Context<'a>, #[ignore] text: &'a str, x: u64) -> u64 {
    x + (context.0.len() + text.len()) as u64
}

#[fleche(isolate, ignore(client))]
fn alone(client: &Client, x: u64) -> u64 {
    x + client.0.len() as u64
}

#[fleche]
async fn awaited(#[ignore] log: &mut Vec<u64>, #[ignore] client: &Client, x: u64) -> u64 {
    log.push(x);
    x + client.0.len() as u64
}

#[fleche(local, ignore(cell, lock))]
fn local(cell: &Cell<u64>, lock: &Mutex<HashMap<u64, u64>>, x: u64) -> u64 {
    cell.set(x);
    lock.lock().map_or(0, |map| map.len() as u64) + x
}

/// What is ignored and has an encoding is still carried by bound calls.
#[fleche(ignore(verbose, label))]
pub fn carried(verbose: bool, label: &str, x: u64) -> u64 {
    if verbose { x } else { x + label.len() as u64 }
}

fn main() {
    fleche_core::Cache::void().scope(|| {
        assert_eq!(fetched(&Client("a"), Client("b"), 1), "ab1");
        let (mut log, mut other) = (Vec::new(), Vec::new());
        let context = Context("abc");
        let sum = everything(&|x| x + 1.0, &mut log, &mut other, &["a"], &context, Context("ab"), 1.0);
        assert!((sum - 8.0).abs() < 1e-9);
        assert_eq!((log, other), (vec![1], vec![2]));
        assert_eq!(generic(|x| x + 1, &'a', 1), 2);
        assert_eq!(implied(|x| x + 1, 1), 2);
        assert_eq!(named(&context, "a", 1), 5);
        assert_eq!(alone(&Client("a"), 1), 2);
        assert_eq!(alone::uncached(&Client("a"), 1), 2);
        drop(awaited(&mut Vec::new(), &Client("a"), 1));
        assert_eq!(local(&Cell::new(0), &Mutex::new(HashMap::new()), 1), 1);
        assert_eq!(carried::bind(false, "abc", 1).call().unwrap(), 4);
        assert!(fetched::load(&Client("a"), Client("b"), 1).unwrap().is_none());
    });
}
