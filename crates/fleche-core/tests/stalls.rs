//! Circles of waits that go through threads that are not ours. One test, in a process of its own: what tells them is that
//! nothing happens there.
#![cfg(target_os = "linux")]
#![allow(missing_docs)]

use std::{sync::mpsc, thread, time::Duration};

use fleche_core::{Cache, fleche, set_default_cache};
use fleche_store_memory::{MemoryCalls, MemoryValues};
use rayon::{ThreadPoolBuilder, Yield, prelude::*};

/// Longer than anything here takes: what is not there by then hangs.
const HANGS: Duration = Duration::from_mins(1);

/// Rounds of calls at the most, until there was a circle in them.
const MOST_ROUNDS: usize = 60;

/// Two halves on two threads. The second lets rayon put another call on top of itself, for which the first is not over.
#[fleche]
fn halves(x: u64, #[ignore] again: Option<u64>) -> u64 {
    let (begun, begins) = mpsc::channel();
    rayon::join(
        // As soon as the other half has begun, on another thread, this one is over; its thread then waits for that.
        move || begins.recv().expect("another thread takes it"),
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
fn waits_that_nobody_sees_end_where_nothing_happens() {
    let cache = Cache::new(MemoryValues::new(), MemoryCalls::new());
    set_default_cache(cache.clone());

    // A worker that computes one half of a body is given the same call.
    let pool = ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let (told, result) = mpsc::channel();
    pool.spawn(move || told.send(halves(1, Some(1))).unwrap());
    assert_eq!(result.recv_timeout(HANGS).expect("it hangs"), 1);
    assert_eq!((cache.stats().circles, cache.stats().computed), (1, 2));

    // A body waits for a thread that asks for it without a word of where it comes from.
    let (told, result) = mpsc::channel();
    thread::spawn(move || told.send(joins(2, true)).unwrap());
    assert_eq!(result.recv_timeout(HANGS).expect("it hangs"), 2);
    assert_eq!((cache.stats().circles, cache.stats().computed), (2, 4));

    // Bodies with parallel iterators in them, many at once and of few calls. Whether a circle comes about is up to rayon.
    for threads in [2, 3, 5].into_iter().cycle().take(MOST_ROUNDS) {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let (done, results) = mpsc::channel();
        for key in 0..12 {
            let done = done.clone();
            pool.spawn(move || done.send((key % 4, sum(3, key % 4))).unwrap());
        }
        for _ in 0..12 {
            let (key, found) = results.recv_timeout(HANGS).expect("it hangs");
            let expected: u64 = (0..27).map(|way: u64| (key + way % 3 + way / 3 % 3 + way / 9) % 4).sum();
            assert_eq!(found, expected);
        }
        cache.evict_all(&sum::query()).unwrap();
        if cache.stats().circles > 2 {
            break;
        }
    }
    assert!(cache.stats().circles > 2, "there was no circle in {MOST_ROUNDS} rounds");
}
