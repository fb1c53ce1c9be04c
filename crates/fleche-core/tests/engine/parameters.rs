//! Tests of parameters of every kind: by value, borrowed, patterns, generic, ignored.

use std::{borrow::Cow, collections::HashMap, path::Path};

use fleche_core::{SkipReason, fleche};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::support::{Runs, memory};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Structure {
    sites: Vec<[f64; 3]>,
    label: String,
}

#[test]
fn borrowed_parameters_are_keyed_by_their_value() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn lent(structure: &Structure, label: &str, numbers: &[u32], #[by_name] path: &Path) -> String {
        RUNS.count();
        format!("{} {label} {} {}", structure.label, numbers.len(), path.display())
    }
    let _active = memory().enter();
    let structure = Structure { sites: vec![[0.0, 1.0, 2.0]], label: "a".to_owned() };
    let first = lent(&structure, "b", &[1, 2], Path::new("c"));
    assert_eq!(first, "a b 2 c");
    let equal = structure.clone();
    let label = String::from("b");
    assert_eq!(first, lent(&equal, &label, &[1, 2], Path::new("c")));
    assert_eq!(RUNS.take(), 1);
    let other = Structure { sites: vec![[0.0, 1.0, -2.0]], ..structure };
    lent(&other, "b", &[1, 2], Path::new("c"));
    assert_eq!(RUNS.take(), 1);
}

#[test]
fn patterns_mut_and_raw_identifiers_are_accepted() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn patterns((a, b): (i64, i64), mut total: i64, r#type: u8, [c, d]: [i64; 2], _: bool) -> i64 {
        RUNS.count();
        total += a + b + c + d;
        total + i64::from(r#type)
    }
    let _active = memory().enter();
    assert_eq!(patterns((1, 2), 10, 3, [4, 5], true), 25);
    assert_eq!(patterns((1, 2), 10, 3, [4, 5], true), 25);
    assert_eq!(RUNS.take(), 1);
    let cache = fleche_core::active_cache();
    let record = cache.record(&patterns::key((1, 2), 10, 3, [4, 5], true)).unwrap().unwrap();
    let names: Vec<_> = record.arguments.iter().map(|argument| argument.0.as_ref()).collect();
    assert_eq!(names, ["arg0", "total", "type", "arg3", "arg4"]);
}

#[test]
fn instances_of_a_generic_function_are_different_functions() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn width<T: Serialize + DeserializeOwned + 'static, const N: usize>(_value: T) -> usize {
        RUNS.count();
        size_of::<T>() * N
    }
    let _active = memory().enter();
    assert_eq!(width::<u8, 1>(5), 1);
    assert_eq!(width::<u64, 1>(5), 8);
    assert_eq!(width::<u64, 2>(5), 16);
    assert_eq!(RUNS.take(), 3);
    assert_eq!((width::<u8, 1>(5), width::<u64, 1>(5), width::<u64, 2>(5)), (1, 8, 16));
    assert_eq!(RUNS.take(), 0);
    assert!(width::query::<u8, 1>().function_name().unwrap().ends_with("::width::<u8, 1>"));
}

#[test]
fn impl_trait_parameters_are_generic() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn shown(value: impl ToString + Serialize + DeserializeOwned + 'static, times: usize) -> String {
        RUNS.count();
        value.to_string().repeat(times)
    }
    let _active = memory().enter();
    assert_eq!((shown(1_u8, 2), shown(1_u64, 2), shown(1_u8, 2)), ("11".into(), "11".into(), "11".into()));
    assert_eq!(RUNS.take(), 2);
}

#[test]
fn generic_result_types_and_lifetimes_are_accepted() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn first<'a, T>(values: &'a [T], name: Cow<'a, str>) -> Option<(T, String)>
    where
        T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
    {
        RUNS.count();
        values.first().map(|value| (value.clone(), name.into_owned()))
    }
    let _active = memory().enter();
    for _ in 0..2 {
        assert_eq!(first(&[1.5, 2.5], "x".into()), Some((1.5, "x".to_owned())));
    }
    assert_eq!(RUNS.take(), 1);
}

#[test]
fn ignored_arguments_are_not_part_of_the_key() {
    static RUNS: Runs = Runs::new();
    #[fleche(ignore(verbose))]
    fn quiet(x: i64, verbose: bool, #[ignore] threads: usize) -> i64 {
        RUNS.count();
        let _ = (verbose, threads);
        x
    }
    let _active = memory().enter();
    quiet(1, true, 4);
    quiet(1, false, 8);
    assert_eq!(RUNS.take(), 1);
    assert_eq!(quiet::key(1, true, 4), quiet::key(1, false, 8));
}

#[test]
fn ignored_arguments_may_be_of_any_type() {
    struct Client(&'static str);
    static RUNS: Runs = Runs::new();
    #[fleche(ignore(step))]
    fn root(#[ignore] client: &Client, step: &dyn Fn(f64) -> f64, guess: f64) -> String {
        RUNS.count();
        format!("{} {}", client.0, step(guess))
    }
    let cache = memory();
    let _active = cache.enter();
    assert_eq!(root(&Client("one"), &|x| x + 1.0, 1.0), "one 2");
    assert_eq!(root(&Client("other"), &|x| x + 2.0, 1.0), "one 2");
    assert_eq!(RUNS.take(), 1);
    assert_eq!(root::rerun(&Client("other"), &|x| x + 2.0, 1.0), "other 3");
    assert!(root::contains(&Client("any"), &|x| x, 1.0).unwrap());
    let record = cache.record(&root::key(&Client("any"), &|x| x, 1.0)).unwrap().unwrap();
    let names: Vec<_> = record.arguments.iter().map(|argument| argument.0.as_ref()).collect();
    assert_eq!(names, ["guess"]);
}

#[test]
fn hit_does_not_write_to_an_ignored_mutable_argument() {
    type Log<'a> = &'a mut Vec<u64>;
    static RUNS: Runs = Runs::new();
    #[fleche(ignore(log, same))]
    fn logged(log: &mut Vec<u64>, same: Log<'_>, x: u64) -> usize {
        RUNS.count();
        log.push(x);
        same.push(x);
        log.len()
    }
    let _active = memory().enter();
    let (mut log, mut other) = (Vec::new(), Vec::new());
    assert_eq!((logged(&mut log, &mut other, 1), logged(&mut log, &mut other, 1)), (1, 1));
    assert_eq!(RUNS.take(), 1);
    assert_eq!((log, other), (vec![1], vec![1]));
}

#[test]
fn type_of_an_ignored_argument_needs_no_encoding() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn applied<F: Fn(u64) -> u64 + 'static>(#[ignore] f: F, x: u64) -> u64 {
        RUNS.count();
        f(x)
    }
    #[fleche]
    fn told<T: ToString + Serialize + DeserializeOwned + 'static>(#[ignore] t: &T, x: u64) -> String {
        RUNS.count();
        t.to_string() + &x.to_string()
    }
    let _active = memory().enter();
    let twice = |x| 2 * x;
    assert_eq!((applied(twice, 1), applied(twice, 1)), (2, 2));
    assert_eq!(RUNS.take(), 1);
    // A bound call still carries an ignored argument that has an encoding.
    let call = told::bind(&"a".to_owned(), 1);
    assert_eq!((call.call().unwrap(), told(&"b".to_owned(), 1)), ("a1".to_owned(), "a1".to_owned()));
    assert_eq!(RUNS.take(), 1);
}

#[test]
fn local_function_may_take_nested_references() {
    static RUNS: Runs = Runs::new();
    #[fleche(local)]
    fn joined(parts: &[&str]) -> String {
        RUNS.count();
        parts.concat()
    }
    let _active = memory().enter();
    assert_eq!((joined(&["a", "b"]), joined(&["a", "b"])), ("ab".to_owned(), "ab".to_owned()));
    assert_eq!(RUNS.take(), 1);
}

#[test]
fn order_of_a_hash_map_is_not_part_of_the_key() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn summed(weights: &HashMap<String, f64>) -> f64 {
        RUNS.count();
        weights.values().sum()
    }
    let cache = memory();
    let _active = cache.enter();
    for _ in 0..10 {
        let weights: HashMap<_, _> = (0_u8..20).map(|n| (n.to_string(), f64::from(n))).collect();
        assert_eq!(summed(&weights), 190.0);
    }
    assert_eq!(RUNS.take(), 1);
}

#[test]
fn call_with_an_unencodable_argument_runs_uncached() {
    struct Unencodable;
    impl Serialize for Unencodable {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("it has no text"))
        }
    }
    static RUNS: Runs = Runs::new();
    #[fleche(local)]
    fn hopeless(x: i64, thing: &Unencodable) -> i64 {
        RUNS.count();
        let _ = thing;
        x
    }
    let cache = memory();
    let _active = cache.enter();
    let ((), log) = crate::support::logged(|| {
        assert_eq!((hopeless(1, &Unencodable), hopeless(1, &Unencodable)), (1, 1));
    });
    assert_eq!(RUNS.take(), 2);
    assert_eq!(cache.stats().skipped[&SkipReason::ArgumentNotEncodable], 2);
    assert!(log.contains("argument `thing`") && log.contains("it has no text"), "{log}");
    assert_eq!(log.lines().count(), 1, "one warning: {log}");
    assert!(hopeless::contains(1, &Unencodable).is_err());
    assert!(std::panic::catch_unwind(|| hopeless::key(1, &Unencodable)).is_err());
}
