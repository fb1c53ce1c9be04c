//! What a hit costs in front of the stores, beside caches that never persist.

use std::{
    hint::black_box,
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

use cached::proc_macro::cached;
use fleche_core::{Cache, cache::HotTier, fleche};
use fleche_store_memory::{MemoryCalls, MemoryValues};

use crate::{
    rounds::{Measure, medians},
    table::{Row, Table},
};

type Key = (i64, String, u64);

#[fleche]
fn ours(x: i64, label: &str, y: f64) -> f64 {
    if x > 0 && !label.is_empty() { y * 2.0 } else { y }
}

#[cached(key = "Key", convert = r#"{ (x, label.to_owned(), y.to_bits()) }"#)]
fn theirs(x: i64, label: &str, y: f64) -> f64 {
    if x > 0 && !label.is_empty() { y * 2.0 } else { y }
}

#[fleche]
fn ours_of_integer(x: i64) -> i64 {
    x + 1
}

#[cached]
fn theirs_of_integer(x: i64) -> i64 {
    x + 1
}

fn bare(x: i64) -> i64 {
    black_box(x) + 1
}

#[fleche]
fn large(x: u8) -> Arc<Vec<f64>> {
    Arc::new(vec![f64::from(x); 1_000_000])
}

/// As many different calls take turns.
const CALLS: i64 = 64;

/// Measures, and says what came out.
///
/// # Errors
/// What cannot be opened.
#[allow(clippy::cast_precision_loss, clippy::too_many_lines)] // A table of its own, row by row.
pub(crate) fn run(quick: bool) -> Result<Table, String> {
    let (rounds, calls) = if quick { (1, 1_000) } else { (9, 1_000_000) };
    let few = (calls / 100).max(100);
    let cache = Cache::new(MemoryValues::new(), MemoryCalls::new());
    let cold = Cache::new(MemoryValues::new(), MemoryCalls::new()).hot_tier(HotTier::OFF);
    let void = Cache::void();
    let moka: moka::sync::Cache<Key, f64> = moka::sync::Cache::new(1_000);
    let quick_cache: quick_cache::sync::Cache<Key, f64> = quick_cache::sync::Cache::new(1_000);
    for x in 0..CALLS {
        moka.insert((x, "label".to_owned(), 1.5_f64.to_bits()), 1.0);
        quick_cache.insert((x, "label".to_owned(), 1.5_f64.to_bits()), 1.0);
    }
    let key = |x: i64| (x % CALLS, "label".to_owned(), 1.5_f64.to_bits());
    let mut measures: Vec<Measure<'_>> = vec![
        Box::new(|| Ok(cache.scope(|| timed(calls, |x| ours(x, "label", 1.5))))),
        Box::new(|| Ok(timed(calls, |x| theirs(x, "label", 1.5)))),
        Box::new(|| Ok(cache.scope(|| timed(calls, ours_of_integer)))),
        Box::new(|| Ok(timed(calls, theirs_of_integer))),
        Box::new(|| Ok(in_two(|| cache.scope(|| timed(calls, |x| ours(x, "label", 1.5)))))),
        Box::new(|| Ok(in_two(|| timed(calls, |x| moka.get(&key(x)))))),
        Box::new(|| Ok(cold.scope(|| timed(few * 10, |x| ours(x, "label", 1.5))))),
        Box::new(|| Ok(timed(calls, |x| quick_cache.get(&key(x))))),
        Box::new(|| Ok(cache.scope(|| timed(calls, |_| large(1))))),
        Box::new(|| Ok(void.scope(|| timed(calls, ours_of_integer)))),
        Box::new(|| Ok(timed(calls, bare))),
    ];
    let times = medians(rounds, &mut measures)?;
    let each = |at: usize, calls: i64| times[at].as_secs_f64() / calls as f64;
    let ratio = |at: usize, peer: usize| times[at].as_secs_f64() / times[peer].as_secs_f64();
    let cold_hit = each(6, few * 10);
    Ok(Table(vec![
        Row::time("hot hit of `(i64, &str, f64)`", each(0, calls)),
        Row::time("the same, `cached`", each(1, calls)),
        Row::held("hot hit of `(i64, &str, f64)`, against `cached`", ratio(0, 1), 1.2),
        Row::time("hot hit of `i64`", each(2, calls)),
        Row::time("the same, `cached`", each(3, calls)),
        Row::held("hot hit of `i64`, against `cached`", ratio(2, 3), 3.0),
        Row::held("hot hit on two threads, against `moka`", ratio(4, 5), 0.5),
        Row::at_least("calls on two threads, against one", 2.0 * times[0].as_secs_f64() / times[4].as_secs_f64(), 1.8),
        Row::within("hit in memory, hot tier off", cold_hit, 600e-9),
        Row::held("the same, against `quick_cache`", cold_hit / each(7, calls), 3.0),
        Row::within("hot hit of an `Arc` of 8 MB", each(8, calls), 100e-9),
        Row::within(
            "`#[fleche]` with the void cache, more than the bare function",
            each(9, calls) - each(10, calls),
            30e-9,
        ),
    ]))
}

/// How long so many calls take, one after the other.
fn timed<R>(calls: i64, call: impl Fn(i64) -> R) -> Duration {
    let begun = Instant::now();
    for x in 0..calls {
        black_box(call(black_box(x % CALLS)));
    }
    begun.elapsed()
}

/// The same on two threads at once: how long it takes until both are done.
fn in_two(run: impl Fn() -> Duration + Sync) -> Duration {
    let barrier = Barrier::new(2);
    thread::scope(|scope| {
        let threads = [(); 2].map(|()| {
            scope.spawn(|| {
                barrier.wait();
                run()
            })
        });
        threads.map(|thread| thread.join().unwrap_or_default()).into_iter().max().unwrap_or_default()
    })
}
