//! Tests of calls that wait for themselves, directly or through other calls: one of them computes directly.

use std::{sync::Barrier, thread};

use fleche_core::{active_cache, fleche};

use super::support::{Runs, memory};

#[test]
fn recursive_call_of_itself_computes_directly() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn itself(x: i64, #[ignore] depth: u32) -> i64 {
        RUNS.count();
        if depth == 0 { x } else { itself(x, depth - 1) }
    }
    let cache = memory();
    assert_eq!(cache.scope(|| itself(5, 3)), 5);
    assert_eq!(RUNS.take(), 4);
    assert_eq!(cache.scope(|| itself(5, 3)), 5);
    assert_eq!((RUNS.take(), cache.stats().waits, cache.stats().cycles_broken), (0, 0, 3));
}

#[test]
fn mutually_recursive_calls_compute_directly() {
    #[fleche]
    fn even(x: i64, #[ignore] depth: u32) -> i64 {
        if depth == 0 { x } else { odd(x, depth - 1) }
    }
    #[fleche]
    fn odd(x: i64, #[ignore] depth: u32) -> i64 {
        if depth == 0 { x } else { even(x, depth - 1) }
    }
    assert_eq!(memory().scope(|| even(7, 9)), 7);
}

#[test]
fn thread_started_by_a_body_can_make_the_same_call() {
    #[fleche]
    fn threaded(x: i64, #[ignore] outer: bool) -> i64 {
        if !outer {
            return x;
        }
        let bound = fleche_core::Bound::bind(threaded);
        thread::spawn(move || bound.call((3, false))).join().unwrap()
    }
    assert_eq!(memory().scope(|| threaded(3, true)), 3);
}

/// Two calls that request each other, started at once on two threads.
#[test]
fn cycle_of_waits_is_broken_by_one_that_computes() {
    static RUNS: Runs = Runs::new();
    static BOTH: Barrier = Barrier::new(2);
    #[fleche]
    fn one_way(x: i64, #[ignore] first: bool) -> i64 {
        RUNS.count();
        if first {
            BOTH.wait();
            other_way(x, false);
        }
        x
    }
    #[fleche]
    fn other_way(x: i64, #[ignore] first: bool) -> i64 {
        RUNS.count();
        if first {
            BOTH.wait();
            one_way(x, false);
        }
        x
    }
    for round in 0..100 {
        let cache = memory();
        thread::scope(|scope| {
            scope.spawn(|| cache.scope(|| one_way(round, true)));
            scope.spawn(|| cache.scope(|| other_way(round, true)));
        });
        assert_eq!((RUNS.take(), cache.stats().cycles_broken), (3, 1), "two bodies, and one computed directly");
    }
}

/// Runs the closure as a thread pool would, without the context of the body.
fn on_another_thread<R: Send>(run: impl FnOnce() -> R + Send) -> R {
    thread::scope(|scope| scope.spawn(run).join().unwrap())
}

#[test]
fn body_that_calls_itself_on_another_thread_ends() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn scoped(depth: i64, #[ignore] first: bool) -> i64 {
        RUNS.count();
        let cache = active_cache();
        if first { on_another_thread(|| cache.scope(|| scoped(depth, false))) } else { depth }
    }
    #[fleche]
    fn through_another(depth: i64, #[ignore] first: bool) -> i64 {
        RUNS.count();
        let cache = active_cache();
        if depth > 0 {
            return on_another_thread(|| cache.scope(|| through_another(depth - 1, first)));
        }
        if first { on_another_thread(|| cache.scope(|| through_another(2, false))) } else { depth }
    }
    let cache = memory();
    assert_eq!(cache.scope(|| scoped(1, true)), 1);
    assert_eq!((RUNS.take(), cache.stats().cycles_broken), (2, 1));
    assert_eq!(cache.scope(|| through_another(2, true)), 0);
    assert_eq!(cache.stats().cycles_broken, 4, "each of the three calls is requested within itself");
    assert_eq!(RUNS.take(), 6);
}

#[test]
fn rayon_bodies_with_calls_in_opposite_order_end() {
    use rayon::prelude::*;
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn leaf(x: i64) -> i64 {
        RUNS.count();
        x
    }
    #[fleche]
    fn sum(numbers: Vec<i64>) -> i64 {
        RUNS.count();
        let cache = active_cache();
        numbers.into_par_iter().map(|x| cache.scope(|| if x < 10 { leaf(x) } else { sum(vec![x - 10, x - 9]) })).sum()
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
    for _ in 0..100 {
        let cache = memory();
        let calls: Vec<Vec<i64>> =
            (0..8).map(|at| if at % 2 == 0 { vec![11, 12, 13] } else { vec![13, 12, 11] }).collect();
        let sums: Vec<_> = pool.install(|| calls.into_par_iter().map(|call| cache.scope(|| sum(call))).collect());
        assert!(sums.iter().all(|found: &i64| *found == sums[0]), "{sums:?}");
    }
}
