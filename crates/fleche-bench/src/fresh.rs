//! Hands out arguments that no call of this process has used, and times calls.

use std::{
    sync::atomic::{AtomicI64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// Returns the first of `calls` successive arguments that no call of this process has used.
pub(crate) fn fresh(calls: i64) -> i64 {
    static NEXT: AtomicI64 = AtomicI64::new(0);
    NEXT.fetch_add(calls, Relaxed)
}

/// Measures this many calls that are misses in every cache, of a function that adds one.
pub(crate) fn missed(function: fn(i64) -> i64, calls: i64) -> Duration {
    called(function, fresh(calls), calls)
}

/// Measures this many calls with the arguments from `from` on, of a function that adds one.
pub(crate) fn called(function: fn(i64) -> i64, from: i64, calls: i64) -> Duration {
    let begun = Instant::now();
    for x in from..from + calls {
        assert_eq!(function(x), x + 1);
    }
    begun.elapsed()
}
