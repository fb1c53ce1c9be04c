//! Tests that a record is not replaced if a failed lookup could not see it.

use std::{
    io,
    sync::{
        Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use fleche_core::{
    Cache, CallStore, DigestPrefix, Error, ExecutorExt, Result, SkipReason,
    cache::{HotTier, StalePolicy},
    executor::wrap_executor,
    fleche,
    spi::CacheSpi,
};
use fleche_exec::SerialExecutor;
use fleche_store_memory::MemoryCalls;

use crate::{
    fixtures::{Programs, SameName, block_on, edited, programs},
    hooked_store::{HookedStore, Operation},
    support::{Runs, logged},
};

/// A time limit for waits that must end.
const PATIENCE: Duration = Duration::from_mins(2);

/// The failure of an operation.
#[derive(Clone, Copy, Debug)]
enum Failure {
    Error,
    Timeout,
    Panic,
}

/// Returns the error of a failing operation, or panics.
fn fail(failure: Failure) -> Result<()> {
    let source = match failure {
        Failure::Error => io::Error::other("the disk is broken"),
        Failure::Timeout => io::ErrorKind::TimedOut.into(),
        Failure::Panic => panic!("the store panics"),
    };
    Err(Error::Io { action: "read", path: "store".into(), source })
}

/// Wraps a store so that its first `reads` reads and `contains` existence checks fail.
fn failing_first<S>(store: S, failure: Failure, reads: usize, contains: usize) -> HookedStore<S> {
    let (reads, contains) = (AtomicUsize::new(reads), AtomicUsize::new(contains));
    HookedStore::new(store, move |operation| {
        let left = match operation {
            Operation::ReadValue | Operation::ReadRecord => &reads,
            Operation::ContainsRecord => &contains,
            _ => return Ok(()),
        };
        let fails = left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
        if fails { fail(failure) } else { Ok(()) }
    })
}

/// Creates the second program's cache, with a store in which these numbers of operations fail.
fn with_failures(programs: &Programs, failure: Failure, reads: usize, contains: usize) -> Cache {
    let store = SameName { store: programs.calls.clone(), keys: programs.keys.clone(), full: None };
    Cache::builder()
        .values(programs.values.clone())
        .calls(failing_first(store, failure, reads, contains))
        .hot_tier(HotTier::OFF)
        .build()
}

fn records(calls: &MemoryCalls) -> usize {
    calls.keys(&DigestPrefix::all()).unwrap().count()
}

const ALWAYS: usize = usize::MAX;

#[test]
fn record_is_kept_after_a_failed_look_up() {
    edited!(unseen_before, unseen_now);
    for failure in [Failure::Error, Failure::Panic] {
        let programs = programs!(unseen_before, unseen_now);
        programs.before.scope(|| unseen_before(1));
        let now = with_failures(&programs, failure, 1, 0);
        assert_eq!(now.scope(|| unseen_now(1)), [2; 20]);
        assert_eq!((now.stats().faults, now.stats().skipped.len(), records(&programs.calls)), (1, 0, 2));
        assert_eq!(
            (now.scope(|| unseen_now(1)), programs.before.scope(|| unseen_before(1))),
            (vec![2; 20], vec![1; 20])
        );
        assert_eq!((BEFORE.take(), NOW.take()), (1, 1), "both results must be found again");
    }
}

#[test]
fn record_written_after_the_store_was_asked_again_is_kept() {
    edited!(late_before, late_now);
    let programs = programs!(late_before, late_now);
    let store = SameName { store: programs.calls.clone(), keys: programs.keys.clone(), full: None };
    let (other, looks) = (Mutex::new(Some(programs.before.clone())), AtomicUsize::new(0));
    let written_by_other = HookedStore::new(failing_first(store, Failure::Error, 1, 0), move |operation| {
        let is_asked_again = operation == Operation::ContainsRecord && looks.fetch_add(1, SeqCst) == 1;
        if (is_asked_again || operation == Operation::WriteRecord)
            && let Some(other) = other.lock().unwrap().take()
        {
            assert_eq!(other.scope(|| late_before(1)), [1; 20]);
        }
        Ok(())
    });
    let now = Cache::builder().values(programs.values.clone()).calls(written_by_other).hot_tier(HotTier::OFF).build();
    assert_eq!(now.scope(|| late_now(1)), [2; 20]);
    assert_eq!((now.scope(|| late_now(1)), programs.before.scope(|| late_before(1))), (vec![2; 20], vec![1; 20]));
    assert_eq!((BEFORE.take(), NOW.take()), (1, 1), "both results must be found again");
}

#[test]
fn record_in_a_store_that_was_reopened_is_kept() {
    edited!(reopened_before, reopened_now);
    let programs = programs!(reopened_before, reopened_now);
    let store = SameName { store: programs.calls.clone(), keys: programs.keys.clone(), full: None };
    let other = Mutex::new(Some(programs.before.clone()));
    let reopened = HookedStore::new(store, move |operation| {
        if operation == Operation::WriteRecord
            && let Some(other) = other.lock().unwrap().take()
        {
            assert_eq!(other.scope(|| reopened_before(1)), [1; 20]);
            return Err(Error::Reopened { path: "store".into() });
        }
        Ok(())
    });
    let now = Cache::builder()
        .values(programs.values.clone())
        .calls(reopened.with_exclusive(true))
        .hot_tier(HotTier::OFF)
        .build();
    assert_eq!(now.scope(|| reopened_now(1)), [2; 20]);
    assert_eq!(
        (now.scope(|| reopened_now(1)), programs.before.scope(|| reopened_before(1))),
        (vec![2; 20], vec![1; 20])
    );
    assert_eq!((BEFORE.take(), NOW.take()), (1, 1), "both results must be found again");
}

#[test]
fn record_that_cannot_be_read_is_not_replaced() {
    edited!(unread_before, unread_now);
    for failure in [Failure::Error, Failure::Timeout, Failure::Panic] {
        for (reads, contains) in [(ALWAYS, 0), (ALWAYS, ALWAYS), (1, ALWAYS)] {
            let programs = programs!(unread_before, unread_now);
            programs.before.scope(|| unread_before(1));
            let now = with_failures(&programs, failure, reads, contains);
            let (result, log) = logged(|| now.scope(|| unread_now(1)));
            assert_eq!(result, [2; 20]);
            let skipped = now.stats().skipped;
            let reasons =
                [SkipReason::StoreFailed, SkipReason::StoreLeftAlone].map(|reason| skipped.get(&reason).copied());
            assert_eq!(reasons.into_iter().flatten().sum::<u64>(), 1, "{failure:?} {log}");
            let said = log.matches("a result is not recorded").count();
            assert_eq!(
                said as u64,
                skipped.get(&SkipReason::StoreFailed).copied().unwrap_or_default(),
                "{failure:?} {log}"
            );
            assert_eq!((programs.before.scope(|| unread_before(1)), records(&programs.calls)), (vec![1; 20], 1));
            assert_eq!((BEFORE.take(), NOW.take()), (1, 1));
        }
    }
}

#[test]
fn record_is_not_replaced_while_the_breaker_is_open() {
    edited!(left_before, left_now);
    let programs = programs!(left_before, left_now);
    programs.before.scope(|| left_before(1));
    let now = with_failures(&programs, Failure::Timeout, 1, 0);
    let begun = Instant::now();
    while records(&programs.calls) == 1 {
        assert!(begun.elapsed() < PATIENCE, "the breaker did not close again");
        assert_eq!(now.scope(|| left_now(1)), [2; 20]);
        std::thread::yield_now();
    }
    NOW.take();
    assert_eq!((now.scope(|| left_now(1)), programs.before.scope(|| left_before(1))), (vec![2; 20], vec![1; 20]));
    assert_eq!((BEFORE.take(), NOW.take()), (1, 0));
}

#[test]
fn body_that_outlasts_an_outage_keeps_the_earlier_record() {
    static BEFORE: Runs = Runs::new();
    static NOW: Runs = Runs::new();
    static CLOCK: AtomicU64 = AtomicU64::new(0);
    #[fleche]
    fn outlasts_before(x: u64) -> Vec<u64> {
        BEFORE.count();
        vec![x; 20]
    }
    #[fleche]
    fn outlasts_now(x: u64) -> Vec<u64> {
        NOW.count();
        CLOCK.fetch_add(2, SeqCst);
        vec![x + 1; 20]
    }
    #[fleche]
    fn another(x: u64) -> u64 {
        x
    }
    let before = (outlasts_before::key(1), (|| drop(outlasts_before(1))) as fn());
    let programs = Programs::new(before, (outlasts_now::key(1), || drop(outlasts_now(1))));
    programs.before.scope(|| outlasts_before(1));
    BEFORE.take();
    NOW.take();
    let now = with_failures(&programs, Failure::Timeout, 1, 0).outage_clock(|| Duration::from_secs(CLOCK.load(SeqCst)));
    let _active = now.enter();
    another(1);
    assert_eq!((outlasts_now(1), records(&programs.calls)), (vec![2; 20], 2));
    assert_eq!((outlasts_now(1), programs.before.scope(|| outlasts_before(1))), (vec![2; 20], vec![1; 20]));
    assert_eq!((BEFORE.take(), NOW.take()), (0, 1));
}

#[test]
fn record_whose_value_cannot_be_read_is_kept() {
    edited!(worth_before, worth_now, stale = "serve");
    let programs = programs!(worth_before, worth_now);
    programs.before.scope(|| worth_before(1));
    let values = failing_first(programs.values.clone(), Failure::Error, 1, 0);
    let calls = SameName { store: programs.calls.clone(), keys: programs.keys.clone(), full: None };
    let now = Cache::builder().values(values).calls(calls).hot_tier(HotTier::OFF).build();
    assert_eq!((now.scope(|| worth_now(1)), records(&programs.calls)), (vec![2; 20], 2));
    assert!(programs.now.record(&programs.kept).unwrap().is_some());
    assert_eq!((BEFORE.take(), NOW.take()), (1, 1));
}

#[test]
fn async_call_does_not_replace_an_unseen_record() {
    static BEFORE: Runs = Runs::new();
    static NOW: Runs = Runs::new();
    #[fleche]
    async fn awaited_before(x: u64) -> Vec<u64> {
        BEFORE.count();
        vec![x; 20]
    }
    #[fleche]
    async fn awaited_now(x: u64) -> Vec<u64> {
        NOW.count();
        vec![x + 1; 20]
    }
    for (reads, contains, kept) in [(1, 0, 2), (ALWAYS, 0, 1), (ALWAYS, ALWAYS, 1)] {
        let before = (awaited_before::key(1), (|| drop(block_on(awaited_before(1)))) as fn());
        let now = (awaited_now::key(1), (|| drop(block_on(awaited_now(1)))) as fn());
        let programs = Programs::new(before, now);
        programs.before.scope(|| block_on(awaited_before(1)));
        BEFORE.take();
        NOW.take();
        let now = with_failures(&programs, Failure::Error, reads, contains);
        assert_eq!(now.scope(|| block_on(awaited_now(1))), [2; 20]);
        assert_eq!(records(&programs.calls), kept);
        assert_eq!(programs.before.scope(|| block_on(awaited_before(1))), [1; 20]);
        assert_eq!((BEFORE.take(), NOW.take()), (0, 1));
    }
}

#[test]
fn submitted_call_does_not_replace_an_unseen_record() {
    edited!(submitted_before, submitted_now);
    // Both the executor and the call look the record up.
    for (reads, contains, kept) in [(1, 0, 2), (2, 0, 2), (ALWAYS, 0, 1), (ALWAYS, ALWAYS, 1)] {
        let programs = programs!(submitted_before, submitted_now);
        programs.before.scope(|| submitted_before(1));
        let now = with_failures(&programs, Failure::Error, reads, contains);
        let pool = wrap_executor(SerialExecutor);
        assert_eq!(now.scope(|| pool.submit(submitted_now, (1,)).result()).unwrap(), [2; 20]);
        assert_eq!(records(&programs.calls), kept);
        assert_eq!(programs.before.scope(|| submitted_before(1)), [1; 20]);
        assert_eq!((BEFORE.take(), NOW.take()), (1, 1));
    }
}

#[test]
fn rerun_does_not_replace_an_unseen_record() {
    edited!(again_before, again_now);
    for (reads, kept) in [(1, 2), (ALWAYS, 1)] {
        let programs = programs!(again_before, again_now);
        programs.before.scope(|| again_before(1));
        let now = with_failures(&programs, Failure::Error, reads, 0).to_builder().stale(StalePolicy::Serve).build();
        assert_eq!(now.scope(|| again_now::rerun(1)), [2; 20]);
        assert_eq!(records(&programs.calls), kept);
        assert_eq!(programs.before.scope(|| again_before(1)), [1; 20]);
        assert_eq!((BEFORE.take(), NOW.take()), (1, 1));
    }
}
