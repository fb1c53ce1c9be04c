//! Tests that a hit is not served for a value that differs only in fields that the encoding skips.

use std::{
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

use fleche_core::{Cache, SkipReason, cache::HotTier, fleche};
use serde::{Deserialize, Deserializer, Serialize};

use super::{
    fixtures::block_on,
    support::{Runs, logged, memory},
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Lossy {
    kept: u64,
    long: String,
    #[serde(skip)]
    lost: u64,
}

fn lossy(lost: u64) -> Lossy {
    Lossy { kept: 1, long: String::new(), lost }
}

fn assert_refused(cache: &Cache, log: &str) {
    assert_eq!(cache.stats().skipped[&SkipReason::ArgumentNotStable], 1);
    assert!(log.contains("argument `lossy`") && log.contains("skipped"), "{log}");
}

#[test]
fn hit_for_a_value_with_another_skipped_field_is_not_served() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn sum(lossy: &Lossy) -> u64 {
        RUNS.count();
        lossy.kept + lossy.lost
    }
    let cache = memory();
    let _active = cache.enter();
    assert_eq!(sum(&lossy(0)), 1);
    let (result, log) = logged(|| sum(&lossy(2)));
    assert_eq!((result, RUNS.take(), cache.stats().hits), (3, 2, 0));
    assert_refused(&cache, &log);
    assert_eq!((sum(&lossy(0)), sum(&lossy(3)), RUNS.take()), (1, 4, 2), "the function serves no hits from now on");
}

#[test]
fn stored_hit_for_another_skipped_field_is_not_served() {
    #[fleche]
    fn stored_sum(lossy: &Lossy) -> u64 {
        lossy.kept + lossy.lost
    }
    let cache = memory().to_builder().hot_tier(HotTier::OFF).build();
    let _active = cache.enter();
    assert_eq!(stored_sum(&lossy(0)), 1);
    let (result, log) = logged(|| stored_sum(&lossy(2)));
    assert_eq!((result, cache.stats().hits), (3, 0));
    assert_refused(&cache, &log);
}

#[test]
fn other_threads_hit_for_another_skipped_field_is_not_served() {
    #[fleche]
    fn far_sum(lossy: &Lossy) -> u64 {
        lossy.kept + lossy.lost
    }
    let cache = memory();
    thread::scope(|scope| scope.spawn(|| cache.scope(|| far_sum(&lossy(0)))).join().unwrap());
    let (result, log) = logged(|| cache.scope(|| far_sum(&lossy(2))));
    assert_eq!((result, cache.stats().hits), (3, 0));
    assert_refused(&cache, &log);
}

#[test]
fn hit_for_a_long_value_with_another_skipped_field_is_not_served() {
    #[fleche]
    fn long_sum(lossy: &Lossy) -> u64 {
        lossy.kept + lossy.lost
    }
    let long = |lost| Lossy { long: "x".repeat(10_000), ..lossy(lost) };
    let cache = memory();
    let _active = cache.enter();
    assert_eq!(long_sum(&long(0)), 1);
    let (result, said) = logged(|| long_sum(&long(2)));
    assert_eq!((result, cache.stats().hits), (3, 0));
    assert_refused(&cache, &said);
}

#[test]
fn async_hit_for_another_skipped_field_is_not_served() {
    #[fleche]
    async fn awaited_sum(lossy: Lossy) -> u64 {
        lossy.kept + lossy.lost
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for tier in [HotTier::DEFAULT, HotTier::OFF] {
        let cache = memory().to_builder().hot_tier(tier).build();
        let _active = cache.enter();
        assert_eq!(runtime.block_on(awaited_sum(lossy(0))), 1);
        assert_eq!(runtime.block_on(awaited_sum(lossy(2))), 3);
        assert_eq!(cache.stats().hits, 0);
    }
}

#[test]
fn binding_an_argument_with_a_skipped_field_warns() {
    #[fleche]
    fn bound_sum(lossy: Lossy) -> u64 {
        lossy.kept + lossy.lost
    }
    let cache = memory();
    let _active = cache.enter();
    let (call, log) = logged(|| bound_sum::bind(lossy(2)));
    assert_refused(&cache, &log);
    // The call carries the encoded value.
    assert_eq!(call.call(), Ok(1));
}

/// A time limit for waits that must end.
const PATIENCE: Duration = Duration::from_mins(2);

fn wait_until(what: impl Fn() -> bool) {
    let begun = Instant::now();
    while !what() {
        assert!(begun.elapsed() < PATIENCE);
        thread::yield_now();
    }
}

#[fleche]
fn hit_before(x: u64) -> u64 {
    x
}

/// Computes a call on one thread while another waits for its result, with an argument that differs in a skipped field.
/// Returns the result of the other, and the number of counted hits.
fn refused_result_of_another_call(call: impl Fn(u64) -> u64 + Sync, begun: &AtomicU64, open: &AtomicU64) -> (u64, u64) {
    let cache = memory();
    let result = thread::scope(|scope| {
        let leader = scope.spawn(|| cache.scope(|| call(0)));
        wait_until(|| begun.load(SeqCst) == 1);
        let follower = scope.spawn(|| {
            let _active = cache.enter();
            // Hits on the same thread.
            assert_eq!([(); 3].map(|()| hit_before(1)), [1; 3]);
            call(2)
        });
        wait_until(|| cache.stats().waits == 1);
        open.store(1, SeqCst);
        assert_eq!(leader.join().unwrap(), 1);
        follower.join().unwrap()
    });
    assert!(cache.stats().skipped[&SkipReason::ArgumentNotStable] >= 1);
    (result, cache.stats().hits)
}

static STATE: [[AtomicU64; 2]; 2] = [const { [const { AtomicU64::new(0) }; 2] }; 2];

fn begin_and_wait([begun, open]: &[AtomicU64; 2]) {
    begun.store(1, SeqCst);
    wait_until(|| open.load(SeqCst) == 1);
}

#[test]
fn refused_shared_result_does_not_reduce_counted_hits() {
    #[fleche]
    fn awaited_elsewhere(lossy: &Lossy) -> u64 {
        begin_and_wait(&STATE[0]);
        lossy.kept + lossy.lost
    }
    let [begun, open] = &STATE[0];
    assert_eq!(refused_result_of_another_call(|lost| awaited_elsewhere(&lossy(lost)), begun, open), (3, 2));
}

#[test]
fn refused_shared_async_result_does_not_reduce_counted_hits() {
    #[fleche]
    async fn polled_elsewhere(lossy: Lossy) -> u64 {
        begin_and_wait(&STATE[1]);
        lossy.kept + lossy.lost
    }
    let [begun, open] = &STATE[1];
    let call = |lost| block_on(polled_elsewhere(lossy(lost)));
    assert_eq!(refused_result_of_another_call(call, begun, open), (3, 2));
}

#[test]
fn refused_hit_is_uncounted_on_the_thread_that_counted_it() {
    let counted = |refused: u64| {
        #[fleche]
        async fn moved_sum(lossy: Lossy) -> u64 {
            lossy.kept + lossy.lost
        }
        let cache = memory();
        let _active = cache.enter();
        assert_eq!([(); 3].map(|()| hit_before(1)), [1; 3]);
        block_on(moved_sum(lossy(0)));
        (block_on(moved_sum(lossy(refused))), cache.stats().hits)
    };
    assert_eq!(counted(2), (3, 2));
}

/// Counts how often it is decoded.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Counted(u64);

static DECODED: AtomicU64 = AtomicU64::new(0);

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        DECODED.fetch_add(1, SeqCst);
        u64::deserialize(deserializer).map(Self)
    }
}

#[test]
fn thread_local_hits_are_checked_at_powers_of_two() {
    #[fleche]
    fn of_counted(counted: &Counted) -> u64 {
        counted.0
    }
    let cache = memory();
    let _active = cache.enter();
    of_counted(&Counted(1));
    let checked = (1..=40).filter(|_| {
        let before = DECODED.load(SeqCst);
        assert_eq!(of_counted(&Counted(1)), 1);
        DECODED.load(SeqCst) > before
    });
    assert_eq!(checked.collect::<Vec<_>>(), [1, 2, 4, 8, 16, 32]);
    assert_eq!(cache.stats().hits, 40);
}
