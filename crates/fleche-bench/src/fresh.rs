//! Calls that nobody made before.

use std::{
    sync::atomic::{AtomicI64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// The first of so many arguments that no call had before.
pub(crate) fn fresh(calls: i64) -> i64 {
    static NEXT: AtomicI64 = AtomicI64::new(0);
    NEXT.fetch_add(calls, Relaxed)
}

/// How long so many calls take that no cache has, of a function that adds one.
pub(crate) fn missed(function: fn(i64) -> i64, calls: i64) -> Duration {
    called(function, fresh(calls), calls)
}

/// How long so many calls take from this argument on, of a function that adds one.
pub(crate) fn called(function: fn(i64) -> i64, from: i64, calls: i64) -> Duration {
    let begun = Instant::now();
    for x in from..from + calls {
        assert_eq!(function(x), x + 1);
    }
    begun.elapsed()
}
