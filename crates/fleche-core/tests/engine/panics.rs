//! Tests of panics in the trait implementations of argument and result types: the call returns its result, and a
//! computed result is not lost.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
    thread,
};

use fleche_conformance::faults::{Part, Tricky, defused, panics_from_now_on, while_panics};
use fleche_core::{Cache, Error, Hashed, SkipReason, cache::HotTier, fleche};

use super::{
    single_flight::until_waiting,
    support::{Runs, logged, memory},
};

fn cold(cache: &Cache) -> Cache {
    cache.to_builder().hot_tier(HotTier::OFF).build()
}

/// Polls a future that wakes no other thread until it is done.
fn block_on<R>(future: impl Future<Output = R>) -> R {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(result) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return result;
        }
        thread::yield_now();
    }
}

macro_rules! argument_tests {
    ($($test:ident, $part:ident, $skip:ident, $taken:ident, $awaited:ident;)*) => {$(
        #[test]
        fn $test() {
            static RUNS: Runs = Runs::new();
            #[fleche]
            fn $taken(tricky: &Tricky) -> u64 {
                RUNS.count();
                tricky.0
            }
            #[fleche]
            async fn $awaited(tricky: &Tricky) -> u64 {
                RUNS.count();
                tricky.0
            }
            let cache = memory();
            let _active = cache.enter();
            let tricky = Tricky(1);
            let (result, log) = logged(|| while_panics(Part::$part, || $taken(&tricky)));
            assert_eq!((result, RUNS.take()), (1, 1));
            assert!(log.contains(concat!("tricky ", stringify!($part))), "{log}");
            assert_eq!(while_panics(Part::$part, || block_on($awaited(&tricky))), 1);
            assert_eq!(RUNS.take(), 1);
            assert_eq!(cache.stats().skipped[&SkipReason::$skip], 2);
        }
    )*};
}

argument_tests! {
    argument_whose_serialize_panics_is_not_looked_up, Serialize, ArgumentNotEncodable, taken_serialize, awaited_serialize;
    argument_whose_deserialize_panics_fails_the_check, Deserialize, ArgumentNotStable, taken_deserialize, awaited_deserialize;
    argument_whose_equality_panics_fails_the_check, PartialEq, ArgumentNotStable, taken_equality, awaited_equality;
}

#[test]
fn argument_whose_drop_panics_is_recorded() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn taken_dropped(tricky: &Tricky) -> u64 {
        RUNS.count();
        tricky.0
    }
    let cache = memory();
    let _active = cache.enter();
    let tricky = Tricky(1);
    // The check decodes copies of its own.
    assert_eq!(while_panics(Part::Drop, || taken_dropped(&tricky) + taken_dropped(&tricky)), 2);
    assert_eq!((RUNS.take(), cache.stats().hits), (1, 1));
}

#[test]
fn hashed_argument_that_panics_is_not_recorded() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn taken_hashed(all: &Hashed<Vec<Tricky>>) -> usize {
        RUNS.count();
        all.len()
    }
    let all = || Hashed::new((0..100).map(Tricky).collect::<Vec<_>>());
    let cache = memory();
    let _active = cache.enter();
    assert_eq!(while_panics(Part::Serialize, || taken_hashed(&all())), 100);
    assert_eq!(cache.stats().skipped[&SkipReason::ArgumentNotEncodable], 1);
    // The digest is cached first; then encoding for the check and for the store panics.
    let known = all();
    taken_hashed::key(&known);
    assert_eq!(while_panics(Part::Serialize, || taken_hashed(&known)), 100);
    assert_eq!((RUNS.take(), cache.stats().skipped[&SkipReason::ArgumentNotStable]), (2, 1));
}

macro_rules! result_tests {
    ($($test:ident, $part:ident, $recorded:literal, $given:ident, $awaited:ident;)*) => {$(
        #[test]
        fn $test() {
            static RUNS: Runs = Runs::new();
            #[fleche]
            fn $given(x: u64) -> Tricky {
                RUNS.count();
                Tricky(x)
            }
            #[fleche]
            async fn $awaited(x: u64) -> Tricky {
                RUNS.count();
                Tricky(x)
            }
            let cache = memory();
            let _active = cache.enter();
            assert_eq!(while_panics(Part::$part, || defused($given(1))), 1);
            assert_eq!(while_panics(Part::$part, || defused(block_on($awaited(1)))), 1);
            assert_eq!(RUNS.take(), 2);
            assert_eq!(($given(1).0, block_on($awaited(1)).0), (1, 1));
            assert_eq!(RUNS.take(), if $recorded { 0 } else { 2 });
        }
    )*};
}

result_tests! {
    result_whose_serialize_panics_is_returned, Serialize, false, given_serialize, awaited_result_serialize;
    result_whose_deserialize_panics_is_returned, Deserialize, false, given_deserialize, awaited_result_deserialize;
    result_whose_equality_panics_is_returned, PartialEq, false, given_equality, awaited_result_equality;
    result_whose_clone_panics_is_recorded, Clone, true, given_clone, awaited_result_clone;
    result_whose_drop_panics_is_recorded, Drop, true, given_drop, awaited_result_drop;
}

#[test]
fn stored_result_whose_decoding_panics_is_computed_again() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn stored(x: u64) -> Tricky {
        RUNS.count();
        Tricky(x)
    }
    #[fleche]
    async fn stored_awaited(x: u64) -> Tricky {
        RUNS.count();
        Tricky(x)
    }
    let cache = cold(&memory());
    let _active = cache.enter();
    // Runs past the calls whose results are checked.
    (0..6).for_each(|x| drop((stored(x), block_on(stored_awaited(x)))));
    RUNS.take();
    let (results, log) = logged(|| while_panics(Part::Deserialize, || (stored(0).0, block_on(stored_awaited(0)).0)));
    assert_eq!((results, RUNS.take()), ((0, 0), 2));
    assert!(log.contains("tricky Deserialize"), "{log}");
    assert!(while_panics(Part::Deserialize, || stored::load(1)).is_err());
    assert!(matches!(while_panics(Part::Deserialize, || cache.load::<Tricky>(&stored::key(1))), Err(Error::Decode(_))));
    assert_eq!(stored(1).0, 1);
    assert_eq!(RUNS.take(), 0);
}

#[test]
fn hot_result_whose_clone_panics_is_read_from_the_store() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn kept(x: u64) -> Tricky {
        RUNS.count();
        Tricky(x)
    }
    let _active = memory().enter();
    kept(1);
    assert_eq!(while_panics(Part::Clone, || kept(1).0), 1);
    assert_eq!(RUNS.take(), 1);
}

#[test]
fn result_whose_clone_panics_reaches_waiting_callers() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn waited_for(x: u64) -> Tricky {
        RUNS.count();
        until_waiting(3);
        Tricky(x)
    }
    let cache = memory();
    let results = thread::scope(|scope| {
        let call = || cache.scope(|| while_panics(Part::Clone, || waited_for(1).0));
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(call)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!((results, RUNS.take()), (vec![1; 4], 1));
}

#[test]
fn hot_results_whose_drop_panics_can_be_evicted() {
    #[fleche]
    fn given_way(x: u64) -> Tricky {
        Tricky(x)
    }
    let run = || {
        panics_from_now_on(Part::Drop);
        let cache = memory().to_builder().hot_tier(HotTier::new(10_000)).build();
        cache.scope(|| (0..2_000).map(|x| defused(given_way(x % 1_500))).sum::<u64>())
    };
    let ended = thread::spawn(run).join();
    assert_eq!(ended.unwrap(), (0..2_000).map(|x| x % 1_500).sum::<u64>());
}
