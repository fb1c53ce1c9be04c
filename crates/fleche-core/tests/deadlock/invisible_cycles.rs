//! Tests of wait cycles through threads that fleche does not control.

use std::{sync::mpsc, thread, time::Duration};

use fleche_core::{Cache, fleche, set_default_cache};
use fleche_store_memory::{MemoryCalls, MemoryValues};
use rayon::{ThreadPoolBuilder, Yield, prelude::*};

use crate::own_process::run_alone;

/// A time limit that is longer than any wait here. A later result counts as a deadlock.
const HANGS: Duration = Duration::from_mins(1);

/// The maximum number of rounds until a cycle has occurred.
const MOST_ROUNDS: usize = 60;

/// Runs two halves on two threads. The second lets rayon start another call on the same stack, which waits for the
/// first.
#[fleche]
fn halves(x: u64, #[ignore] again: Option<u64>) -> u64 {
    let (begun, begins) = mpsc::channel();
    rayon::join(
        // This half ends when the other has begun on another thread; this thread then waits for the other half.
        move || begins.recv().expect("another thread must run the other half"),
        move || {
            begun.send(()).unwrap();
            if let Some(x) = again {
                rayon::spawn(move || assert_eq!(halves(x, None), x));
                while rayon::yield_now() != Some(Yield::Idle) {}
            }
        },
    );
    x
}

#[fleche]
fn sum(depth: u64, key: u64) -> u64 {
    if depth == 0 { key } else { (0..3_u64).into_par_iter().map(|more| sum(depth - 1, (key + more) % 4)).sum() }
}

#[fleche]
fn joins(x: u64, #[ignore] again: bool) -> u64 {
    if again { thread::spawn(move || joins(x, false)).join().unwrap() } else { x }
}

#[test]
fn invisible_wait_cycles_are_broken() {
    run_alone("invisible_cycles::invisible_wait_cycles_are_broken", || {
        let cache = Cache::new(MemoryValues::new(), MemoryCalls::new());
        set_default_cache(cache.clone());

        // A worker that runs one half of a body starts the same call.
        let pool = ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let (told, result) = mpsc::channel();
        pool.spawn(move || told.send(halves(1, Some(1))).unwrap());
        assert_eq!(result.recv_timeout(HANGS).expect("a call hangs"), 1);
        assert_eq!((cache.stats().cycles_broken, cache.stats().computed), (1, 2));

        // A body waits for a thread that makes the same call without the body's context.
        let (told, result) = mpsc::channel();
        thread::spawn(move || told.send(joins(2, true)).unwrap());
        assert_eq!(result.recv_timeout(HANGS).expect("a call hangs"), 2);
        assert_eq!((cache.stats().cycles_broken, cache.stats().computed), (2, 4));

        // Many concurrent bodies with parallel iterators over few calls. Whether a cycle occurs depends on rayon.
        for threads in [2, 3, 5].into_iter().cycle().take(MOST_ROUNDS) {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let (done, results) = mpsc::channel();
            for key in 0..12 {
                let done = done.clone();
                pool.spawn(move || done.send((key % 4, sum(3, key % 4))).unwrap());
            }
            for _ in 0..12 {
                let (key, found) = results.recv_timeout(HANGS).expect("a call hangs");
                let expected: u64 = (0..27).map(|way: u64| (key + way % 3 + way / 3 % 3 + way / 9) % 4).sum();
                assert_eq!(found, expected);
            }
            cache.evict_all(&sum::query()).unwrap();
            if cache.stats().cycles_broken > 2 {
                break;
            }
        }
        assert!(cache.stats().cycles_broken > 2, "no cycle occurred in {MOST_ROUNDS} rounds");
    });
}
