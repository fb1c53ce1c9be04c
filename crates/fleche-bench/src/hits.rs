//! Measures hits in memory, compared with caches that never persist.

use std::{
    collections::HashMap,
    hint::black_box,
    sync::{Arc, Barrier, Mutex},
    thread,
    time::{Duration, Instant},
};

use cached::proc_macro::cached;
use fleche_core::{Cache, cache::HotTier, fleche};

use crate::{
    caches,
    measure::{Measure, medians},
    table::{Row, Table},
};

type Key = (i64, String, u64);

#[fleche]
fn memoized(x: i64, label: &str, y: f64) -> f64 {
    if x > 0 && !label.is_empty() { y * 2.0 } else { y }
}

#[cached(key = "Key", convert = r#"{ (x, label.to_owned(), y.to_bits()) }"#)]
fn peer(x: i64, label: &str, y: f64) -> f64 {
    if x > 0 && !label.is_empty() { y * 2.0 } else { y }
}

#[fleche]
fn memoized_integer(x: i64) -> i64 {
    x + 1
}

#[cached]
fn peer_integer(x: i64) -> i64 {
    x + 1
}

fn undecorated(x: i64) -> i64 {
    black_box(x) + 1
}

#[fleche]
fn large(x: u8) -> Arc<Vec<f64>> {
    Arc::new(vec![f64::from(x); 1_000_000])
}

/// The number of different calls that are made in turn.
const CALLS: i64 = 64;

/// The approximate size in bytes of a call's encoded identity and arguments.
const ENCODED: usize = 120;

/// Runs the benchmark and returns its table.
///
/// # Errors
/// Never fails; the signature is that of all benchmarks.
#[allow(clippy::cast_precision_loss, clippy::too_many_lines)] // One table, written row by row.
pub(crate) fn run(quick: bool) -> Result<Table, String> {
    let (rounds, calls) = if quick { (1, 1_000) } else { (9, 1_000_000) };
    let few = (calls / 100).max(100);
    let cache = caches::memory();
    let cold = caches::memory().to_builder().hot_tier(HotTier::OFF).build();
    let void = Cache::void();
    let moka: moka::sync::Cache<Key, f64> = moka::sync::Cache::new(1_000);
    let quick_cache: quick_cache::sync::Cache<Key, f64> = quick_cache::sync::Cache::new(1_000);
    let key = |x: i64| (x % CALLS, "label".to_owned(), 1.5_f64.to_bits());
    let plain: Mutex<HashMap<Key, f64>> = Mutex::new((0..CALLS).map(|x| (key(x), 1.0)).collect());
    for x in 0..CALLS {
        moka.insert(key(x), 1.0);
        quick_cache.insert(key(x), 1.0);
    }
    let mut measures: Vec<Measure<'_>> = vec![
        Box::new(|| Ok(cache.scope(|| timed(calls, |x| memoized(x, "label", 1.5))))),
        Box::new(|| Ok(timed(calls, |x| peer(x, "label", 1.5)))),
        Box::new(|| Ok(timed(calls, |x| plain.lock().map(|map| map.get(&key(x)).copied())))),
        Box::new(|| Ok(cache.scope(|| timed(calls, memoized_integer)))),
        Box::new(|| Ok(timed(calls, peer_integer))),
        Box::new(|| Ok(on_two_threads(|| cache.scope(|| timed(calls, |x| memoized(x, "label", 1.5)))))),
        Box::new(|| Ok(on_two_threads(|| timed(calls, |x| moka.get(&key(x)))))),
        Box::new(|| Ok(timed(calls, |x| compute(x, 40)))),
        Box::new(|| Ok(on_two_threads(|| timed(calls, |x| compute(x, 40))))),
        Box::new(|| Ok(cold.scope(|| timed(few * 10, |x| memoized(x, "label", 1.5))))),
        Box::new(|| Ok(timed(calls, |x| quick_cache.get(&key(x))))),
        Box::new(|| Ok(timed(calls, |_| blake3::hash(black_box(&[7; ENCODED]))))),
        Box::new(|| Ok(cache.scope(|| timed(calls, |_| large(1))))),
        Box::new(|| Ok(void.scope(|| timed(calls, memoized_integer)))),
        Box::new(|| Ok(timed(calls, undecorated))),
    ];
    let times = medians(rounds, &mut measures)?;
    let each = |at: usize, calls: i64| times[at].as_secs_f64() / calls as f64;
    let scaling = |one: usize, two: usize| 2.0 * times[one].as_secs_f64() / times[two].as_secs_f64();
    let (hit, cold_hit) = (each(0, calls), each(9, few * 10));
    Ok(Table(vec![
        Row::against("hot hit of `(i64, &str, f64)`", hit, ("`cached`", each(1, calls)), 1.2),
        Row::against("hot hit of `(i64, &str, f64)`", hit, ("`Mutex<HashMap>`", each(2, calls)), None),
        Row::against("hot hit of `i64`", each(3, calls), ("`cached`", each(4, calls)), 3.0),
        Row::against("hot hit on two threads", each(5, calls), ("`moka`", each(6, calls)), 0.5),
        Row::at_least("hot hits of two threads, times those of one", scaling(0, 5), 1.8)
            .with_peer(format!("computation alone: {:.2} ×", scaling(7, 8))),
        Row::within("hit in memory, hot tier off", cold_hit, 600e-9),
        Row::against("hit in memory, hot tier off", cold_hit, ("`quick_cache`", each(10, calls)), 3.0),
        Row::against("hit in memory, hot tier off", cold_hit, ("BLAKE3 of as many bytes", each(11, calls)), None),
        Row::within("hot hit of an `Arc` of 8 MB", each(12, calls), 100e-9),
        Row::within(
            "`#[fleche]` with the void cache, more than the bare function",
            each(13, calls) - each(14, calls),
            30e-9,
        ),
    ]))
}

/// Arithmetic without memory access, which shows how well the machine itself scales from one thread to two.
fn compute(x: i64, steps: u32) -> i64 {
    (0..steps).fold(x, |sum, step| black_box(sum).wrapping_mul(31).wrapping_add(step.into()))
}

/// Measures this many calls, one after the other.
fn timed<R>(calls: i64, call: impl Fn(i64) -> R) -> Duration {
    let begun = Instant::now();
    for x in 0..calls {
        black_box(call(black_box(x % CALLS)));
    }
    begun.elapsed()
}

/// Runs the measurement on two threads at once, and returns the longer time.
fn on_two_threads(run: impl Fn() -> Duration + Sync) -> Duration {
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
