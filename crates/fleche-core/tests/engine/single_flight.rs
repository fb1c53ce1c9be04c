//! Tests of single flight within a process: the callers that compute, wait, and take over after a failure.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Barrier, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    thread,
    time::Duration,
};

use fleche_core::{
    Cache, Record, active_cache,
    call::{RecordFields, Timestamp},
    fleche,
    layer::ReadOnly,
};
use fleche_store_memory::{MemoryCalls, MemoryValues};
use serde::{Deserialize, Deserializer, Serialize};

use crate::{
    fixtures::block_on,
    store_errors::failing,
    support::{Runs, logged, memory},
};

/// Returns once this number of calls have waited in this thread's cache.
pub(crate) fn until_waiting(calls: u64) {
    let cache = active_cache();
    while cache.stats().waits < calls {
        thread::yield_now();
    }
}

/// Runs the closure on this number of threads at once, with this cache.
fn at_once<R: Send>(threads: usize, cache: &Cache, run: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let barrier = Barrier::new(threads);
    thread::scope(|scope| {
        let one = |number| {
            let (barrier, run) = (&barrier, &run);
            scope.spawn(move || {
                let _active = cache.enter();
                barrier.wait();
                run(number)
            })
        };
        let threads: Vec<_> = (0..threads).map(one).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn concurrent_threads_share_one_computation() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn shared(x: i64) -> i64 {
        RUNS.count();
        until_waiting(15);
        x + 1
    }
    for _ in 0..50 {
        let cache = memory();
        assert_eq!(at_once(16, &cache, |_| shared(1)), [2; 16]);
        let stats = cache.stats();
        assert_eq!((RUNS.take(), stats.computed, stats.waits, stats.takeovers), (1, 1, 15, 0));
        assert!(!stats.waited.is_zero());
    }
}

#[test]
fn concurrent_threads_share_ten_computations() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn ten(x: usize) -> usize {
        RUNS.count();
        until_waiting(1);
        x
    }
    for _ in 0..50 {
        let cache = memory();
        let results = at_once(64, &cache, |thread| ten(thread % 10));
        assert!(results.into_iter().enumerate().all(|(thread, result)| result == thread % 10));
        assert_eq!(RUNS.take(), 10);
    }
}

#[test]
fn calls_with_other_arguments_or_caches_do_not_wait() {
    static BOTH: Barrier = Barrier::new(3);
    #[fleche]
    fn apart(x: i64) -> i64 {
        BOTH.wait();
        x
    }
    let (one, other) = (memory(), memory());
    thread::scope(|scope| {
        scope.spawn(|| one.scope(|| apart(1)));
        scope.spawn(|| one.scope(|| apart(2)));
        scope.spawn(|| other.scope(|| apart(1)));
    });
    assert_eq!((one.stats().waits, other.stats().waits), (0, 0));
}

#[test]
fn handles_of_one_store_share_in_flight_calls() {
    static RUNS: Runs = Runs::new();
    static BOTH: OnceLock<[Cache; 2]> = OnceLock::new();
    fn waits() -> u64 {
        BOTH.get().unwrap().iter().map(|cache| cache.stats().waits).sum()
    }
    #[fleche]
    fn same_store(x: i64) -> i64 {
        RUNS.count();
        while waits() < 1 {
            thread::yield_now();
        }
        x
    }
    let one = memory();
    let other = Cache::new(one.values().clone(), Arc::new(one.calls().clone()));
    let both = BOTH.get_or_init(|| [one, other]);
    thread::scope(|scope| {
        for cache in both {
            scope.spawn(|| cache.scope(|| same_store(1)));
        }
    });
    assert_eq!((RUNS.take(), waits()), (1, 1));
}

#[test]
fn waiters_get_the_value_without_decoding() {
    static DECODED: AtomicUsize = AtomicUsize::new(0);
    #[derive(Clone, Serialize)]
    struct Counted(i64);
    impl<'de> Deserialize<'de> for Counted {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            DECODED.fetch_add(1, SeqCst);
            i64::deserialize(deserializer).map(Self)
        }
    }
    #[fleche]
    fn typed(x: i64) -> Counted {
        until_waiting(4 * (x.unsigned_abs() - 1) + 3);
        Counted(x)
    }
    let cache = memory();
    // The first miss is checked, which decodes its result.
    at_once(4, &cache, |_| typed(1).0);
    let checked = DECODED.load(SeqCst);
    assert!(checked <= 1, "{checked}");
}

#[test]
fn one_waiter_takes_over_when_the_leader_panics() {
    static RUNS: Runs = Runs::new();
    static STARTED: AtomicUsize = AtomicUsize::new(0);
    #[fleche]
    fn breaks_once(x: i64) -> i64 {
        RUNS.count();
        until_waiting(7);
        assert!(STARTED.fetch_add(1, SeqCst) > 0, "the first run panics");
        x
    }
    let cache = memory();
    let results = at_once(8, &cache, |_| catch_unwind(AssertUnwindSafe(|| breaks_once(1))).ok());
    assert_eq!(results.iter().flatten().count(), 7);
    let stats = cache.stats();
    assert_eq!((RUNS.take(), stats.computed, stats.takeovers), (2, 1, 1));
}

#[test]
fn one_waiter_takes_over_when_the_leader_returns_an_error() {
    static RUNS: Runs = Runs::new();
    static STARTED: AtomicUsize = AtomicUsize::new(0);
    #[fleche]
    fn fails_once(x: i64) -> Result<i64, String> {
        RUNS.count();
        until_waiting(7);
        if STARTED.fetch_add(1, SeqCst) == 0 { Err("not yet".to_owned()) } else { Ok(x) }
    }
    let cache = memory();
    let results = at_once(8, &cache, |_| fails_once(1));
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 7);
    assert_eq!((RUNS.take(), cache.stats().takeovers), (2, 1));
}

#[test]
fn call_without_waiting_computes_at_once() {
    static TWO: Barrier = Barrier::new(2);
    #[fleche(wait = false)]
    fn impatient(x: i64) -> i64 {
        TWO.wait();
        x
    }
    let cache = memory();
    assert_eq!(at_once(2, &cache, |_| impatient(1)), [1, 1]);
    assert_eq!((cache.stats().computed, cache.stats().waits), (2, 0));
}

#[test]
fn waiter_computes_after_its_timeout() {
    static TWO: Barrier = Barrier::new(2);
    #[fleche(wait_timeout = "1ms")]
    fn patient(x: i64) -> i64 {
        TWO.wait();
        x
    }
    let cache = memory();
    assert_eq!(at_once(2, &cache, |_| patient(1)), [1, 1]);
    assert_eq!((cache.stats().computed, cache.stats().waits), (2, 1));
}

#[test]
fn concurrent_reruns_run_once() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn again(x: i64) -> i64 {
        RUNS.count();
        until_waiting(3);
        x
    }
    let cache = memory();
    assert_eq!(at_once(4, &cache, |_| again::rerun(1)), [1; 4]);
    assert_eq!(RUNS.take(), 1);
    assert_eq!(cache.scope(|| again::rerun(1)), 1);
    assert_eq!(RUNS.take(), 1, "a later rerun must run again");
}

#[test]
fn rerun_that_waits_for_a_hit_still_runs() {
    static RUNS: Runs = Runs::new();
    #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
    struct Held(i64);
    #[fleche]
    fn older(x: i64) -> Held {
        RUNS.count();
        Held(x)
    }
    let cache = memory();
    cache.scope(|| older(1));
    for _ in 0..200 {
        // However the calls interleave, the rerun runs its body or joins one that runs.
        let (key, before) = (cache.scope(|| older::key(1)), cache.record(&cache.scope(|| older::key(1))).unwrap());
        RUNS.take();
        at_once(3, &cache, |thread| if thread == 0 { older::rerun(1) } else { older(1) });
        let after = cache.record(&key).unwrap();
        assert!(RUNS.take() >= 1 && before != after);
    }
}

#[test]
fn rerun_runs_despite_a_record_from_the_future() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn skewed(x: i64) -> i64 {
        RUNS.count();
        x
    }
    #[fleche]
    async fn skewed_async(x: i64) -> i64 {
        RUNS.count();
        x
    }
    let cache = memory();
    let _active = cache.enter();
    skewed(1);
    block_on(skewed_async(1));
    assert_eq!(RUNS.take(), 2);
    for key in [skewed::key(1), skewed_async::key(1)] {
        let record = cache.record(&key).unwrap().unwrap();
        let hour = 3_600_000_000_000;
        let ahead = RecordFields { written: Timestamp(record.written.0 + hour), ..(*record).clone() };
        cache.calls().put(&key, &Record::new(ahead)).unwrap();
    }
    assert_eq!((skewed::rerun(1), RUNS.take()), (1, 1));
    assert_eq!((block_on(skewed_async::rerun(1)), RUNS.take()), (1, 1));
}

#[test]
fn panicking_clone_fails_no_call() {
    #[derive(PartialEq, Debug, Serialize, Deserialize)]
    struct Unclonable(i64);
    impl Clone for Unclonable {
        fn clone(&self) -> Self {
            panic!("it cannot be cloned")
        }
    }
    #[fleche]
    fn unclonable(x: i64) -> Unclonable {
        until_waiting(3);
        Unclonable(x)
    }
    let cache = memory();
    let results = at_once(4, &cache, |_| unclonable(1).0);
    assert_eq!((results, cache.stats().computed), (vec![1; 4], 1));
}

#[test]
fn wait_event_names_the_awaited_process() {
    #[fleche]
    fn told(x: i64) -> i64 {
        until_waiting(1);
        x
    }
    let cache = memory();
    let logs = at_once(2, &cache, |_| logged(|| told(1)).1);
    let waited: Vec<_> = logs.iter().filter(|log| log.contains("waiting for the same call")).collect();
    assert_eq!(waited.len(), 1, "{logs:?}");
    assert!(waited[0].contains(&format!("process={}", std::process::id())) && waited[0].contains("told"), "{waited:?}");
}

#[test]
fn unrecorded_result_is_shared_with_waiters() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn unkept(x: usize) -> String {
        RUNS.count();
        until_waiting(3);
        "y".repeat(x)
    }
    let (cache, ..) = failing(false, true);
    let results = at_once(4, &cache, |_| unkept(100).len());
    assert_eq!((results, RUNS.take()), (vec![100; 4], 1));
}

#[test]
fn many_calls_leave_no_in_flight_state() {
    #[fleche]
    fn tiny(x: u32) -> u32 {
        x
    }
    let cache = memory();
    let before = Arc::strong_count(cache.calls());
    at_once(4, &cache, |thread| {
        for x in 0..10_000 {
            assert_eq!(tiny(x * 4 + u32::try_from(thread).unwrap()), x * 4 + u32::try_from(thread).unwrap());
        }
    });
    assert_eq!((cache.stats().computed, Arc::strong_count(cache.calls())), (40_000, before));
}

/// A time limit for waits that must end.
const LONG: Duration = Duration::from_mins(1);

#[test]
fn read_only_handles_of_one_store_compute_a_call_once() {
    static RUNS: Runs = Runs::new();
    static OTHER: OnceLock<Cache> = OnceLock::new();
    static BEGUN: OnceLock<mpsc::SyncSender<()>> = OnceLock::new();
    #[fleche]
    fn read_only(x: u64) -> u64 {
        RUNS.count();
        BEGUN.get().unwrap().send(()).unwrap();
        while OTHER.get().unwrap().stats().waits == 0 {
            thread::yield_now();
        }
        x + 1
    }
    let (values, calls) = (MemoryValues::new(), MemoryCalls::new());
    let open = || Cache::new(ReadOnly::new(values.clone()), ReadOnly::new(calls.clone()));
    let (one, other) = (open(), OTHER.get_or_init(open));
    let (begun, is_running) = mpsc::sync_channel(2);
    BEGUN.set(begun).unwrap();
    thread::scope(|scope| {
        let first = scope.spawn(|| one.scope(|| read_only(1)));
        is_running.recv_timeout(LONG).unwrap();
        assert_eq!(other.scope(|| read_only(1)), 2);
        assert_eq!(first.join().unwrap(), 2);
    });
    assert_eq!(RUNS.take(), 1);
}

#[test]
fn recording_caller_does_not_share_an_unrecorded_result() {
    static BODIES: AtomicUsize = AtomicUsize::new(0);
    static ENDS: OnceLock<Mutex<mpsc::Receiver<()>>> = OnceLock::new();
    #[fleche]
    fn recorded(x: u64) -> u64 {
        // The first body to run waits until the other call has ended.
        if BODIES.fetch_add(1, SeqCst) == 0 {
            ENDS.get().unwrap().lock().unwrap().recv_timeout(LONG).unwrap();
        }
        x + 1
    }
    let (values, calls) = (MemoryValues::new(), MemoryCalls::new());
    let read_only = Cache::new(ReadOnly::new(values.clone()), ReadOnly::new(calls.clone()));
    let writing = Cache::new(values, calls);
    let (end, ends) = mpsc::channel();
    ENDS.set(ends.into()).unwrap();
    thread::scope(|scope| {
        let first = scope.spawn(|| read_only.scope(|| recorded(1)));
        while BODIES.load(SeqCst) == 0 {
            thread::yield_now();
        }
        assert_eq!(writing.scope(|| recorded(1)), 2);
        end.send(()).unwrap();
        assert_eq!(first.join().unwrap(), 2);
    });
    assert!(writing.scope(|| recorded::contains(1)).unwrap());
}
