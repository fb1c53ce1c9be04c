//! Tests `Cache::install` for threads that fleche does not control.

use std::{panic, sync::mpsc, thread};

use fleche_core::{Cache, active_cache, fleche, set_default_cache};
use rayon::prelude::*;

use crate::{
    own_process::run_alone,
    support::{Runs, logged, memory},
};

#[fleche]
fn in_parallel(x: u64) -> u64 {
    RUNS.count();
    x
}

static RUNS: Runs = Runs::new();

#[fleche]
fn knot(x: u64, #[ignore] first: bool) -> u64 {
    let ask = || thread::scope(|scope| scope.spawn(|| knot(x, false)).join().unwrap());
    if first { active_cache().install(ask) } else { x }
}

fn sum() -> u64 {
    (0..100_u64).into_par_iter().map(in_parallel).sum()
}

/// Returns which of these caches is used by a thread that has entered none.
fn used_elsewhere<const N: usize>(caches: [&Cache; N]) -> [bool; N] {
    let used = thread::spawn(|| active_cache().config()).join().unwrap();
    caches.map(|cache| cache.config() == used)
}

#[test]
fn installed_cache_is_used_by_threads_that_have_entered_none() {
    run_alone("installed_cache::installed_cache_is_used_by_threads_that_have_entered_none", || {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let default = memory();

        // Without an installed cache, pool threads use the fallback, with one warning.
        let entered = memory();
        let _active = entered.enter();
        let logs = pool.broadcast(|_| logged(|| in_parallel(1)).1);
        assert_eq!(logs.iter().filter(|log| log.contains("threads do not inherit")).count(), 1, "{logs:?}");
        assert_eq!(entered.stats().misses, 0);
        RUNS.take();

        // While a cache is installed, they use it instead of the default.
        set_default_cache(default.clone());
        let cache = memory();
        for _ in 0..2 {
            assert_eq!(cache.install(|| pool.install(sum)), 4950);
        }
        assert_eq!((RUNS.take(), cache.stats().computed, cache.stats().hits), (100, 100, 100));
        pool.install(|| in_parallel(1));
        assert_eq!((RUNS.take(), default.stats().misses), (1, 1));

        // A cache that a thread has entered takes precedence. The installing thread has entered the installed one.
        let (own, installed) = (memory(), memory());
        installed.install(|| {
            assert_eq!(active_cache().config(), installed.config());
            thread::scope(|scope| scope.spawn(|| own.scope(|| in_parallel(1))).join().unwrap());
        });
        assert_eq!((own.stats().misses, installed.stats().misses), (1, 0));

        // Nested: the inner cache is used while its closure runs.
        let inner = memory();
        installed.install(|| {
            inner.install(|| assert_eq!(used_elsewhere([&installed, &inner]), [false, true]));
            assert_eq!(used_elsewhere([&installed, &inner]), [true, false]);
        });

        // Overlapping: the cache that was installed last and is still installed is used, and each installing thread keeps
        // its own.
        let (first, second) = (memory(), memory());
        let (end, ended) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        thread::scope(|scope| {
            let other = first.install(|| {
                let theirs = second.clone();
                let thread = scope.spawn(move || {
                    theirs.install(|| {
                        tell.send(()).unwrap();
                        ended.recv().unwrap();
                        assert_eq!(active_cache().config(), theirs.config());
                    });
                });
                told.recv().unwrap();
                assert_eq!(used_elsewhere([&first, &second]), [false, true]);
                assert_eq!(active_cache().config(), first.config());
                thread
            });
            assert_eq!(used_elsewhere([&first, &second, &default]), [false, true, false]);
            end.send(()).unwrap();
            other.join().unwrap();
        });
        assert_eq!(used_elsewhere([&first, &second, &default]), [false, false, true]);

        // A panic also ends the installation.
        let panicked = memory();
        let over = || panicked.install(|| panic!("over"));
        assert!(panic::catch_unwind(panic::AssertUnwindSafe(over)).is_err());
        assert_eq!(used_elsewhere([&panicked, &default]), [false, true]);

        // A body that calls itself on a thread without an entered cache computes directly.
        let cache = memory();
        assert_eq!(cache.scope(|| knot(3, true)), 3);
        assert_eq!((cache.stats().computed, cache.stats().cycles_broken), (2, 1));
    });
}
