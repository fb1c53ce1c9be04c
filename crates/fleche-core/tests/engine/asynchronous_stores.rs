//! Tests of blocking stores under an `async fn`: the runtime's thread is not blocked.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    task::{Context, Waker},
    thread::ThreadId,
    time::Duration,
};

use fleche_core::{Cache, Error, SkipReason, fleche};
use fleche_store_file::{FileCalls, FileValues};
use fleche_store_memory::{MemoryCalls, MemoryValues};

use crate::{
    fixtures::{block_on, tokio},
    hooked_store::{HookedStore, Operation},
    support::{Runs, logged, memory},
};

/// Creates a cache whose call store runs the hook before each read and write of a record.
fn slow(before: impl Fn() + Send + Sync + 'static) -> Cache {
    slow_with(before, || ())
}

/// Like [`slow`]; the second hook runs after each write.
fn slow_with(before: impl Fn() + Send + Sync + 'static, after: impl Fn() + Send + Sync + 'static) -> Cache {
    let calls = HookedStore::new(MemoryCalls::new(), move |operation| {
        if matches!(operation, Operation::ReadRecord | Operation::WriteRecord) {
            before();
        }
        Ok(())
    });
    Cache::new(MemoryValues::new(), calls.after_write_record(after))
}

#[derive(Default)]
struct Gate(Mutex<bool>, Condvar);

impl Gate {
    fn open(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }
    fn wait(&self) {
        let closed = |open: &mut bool| !*open;
        let waited = self.1.wait_timeout_while(self.0.lock().unwrap(), Duration::from_mins(1), closed).unwrap();
        assert!(!waited.1.timed_out(), "the gate was not opened within a minute");
    }
}

#[test]
fn blocking_store_does_not_block_the_runtime() {
    #[fleche]
    async fn behind_a_gate(x: i64) -> i64 {
        x
    }
    let gate = Arc::new(Gate::default());
    let within = gate.clone();
    let cache = slow(move || within.wait());
    // The gate is opened by the only thread of the runtime, which the store must not block.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let call = cache.scope(|| behind_a_gate(1));
    let result = runtime.block_on(async move {
        let call = tokio::spawn(call);
        tokio::task::yield_now().await;
        gate.open();
        call.await.unwrap()
    });
    assert_eq!(result, 1);
    assert!(cache.contains(&behind_a_gate::key(1)).unwrap());
}

#[test]
fn hanging_store_does_not_delay_other_caches() {
    #[fleche]
    async fn beside_a_hanging_store(x: i64) -> i64 {
        x
    }
    let gate = Arc::new(Gate::default());
    let within = gate.clone();
    let hanging = slow(move || within.wait());
    // More calls than there are threads for one store.
    let calls = (0..20).map(|x| on_a_thread(hanging.scope(|| beside_a_hanging_store(x)))).collect::<Vec<_>>();
    let other = slow(|| ());
    assert_eq!(block_on(other.scope(|| beside_a_hanging_store(1))), 1);
    assert!(other.contains(&beside_a_hanging_store::key(1)).unwrap());
    gate.open();
    for (x, call) in calls.into_iter().enumerate() {
        assert_eq!(usize::try_from(call.join().unwrap()).unwrap(), x);
    }
}

#[test]
fn operations_that_hang_do_not_block_other_calls_of_their_store() {
    #[fleche]
    async fn beside_hanging_operations(x: i64) -> i64 {
        x
    }
    /// The number of operations that hang: one more than there are threads for one store.
    const HANGING: usize = 9;
    let gate = Arc::new(Gate::default());
    let (within, left) = (gate.clone(), AtomicUsize::new(HANGING));
    let (hangs, hanging) = mpsc::channel();
    let cache = slow(move || {
        if left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
            hangs.send(()).unwrap();
            within.wait();
        }
    });
    let calls = (0..9).map(|x| on_a_thread(cache.scope(|| beside_hanging_operations(x)))).collect::<Vec<_>>();
    for _ in 0..HANGING {
        hanging.recv_timeout(Duration::from_secs(45)).expect("an operation waits for those that hang");
    }
    assert_eq!(block_on(cache.scope(|| beside_hanging_operations(-1))), -1);
    assert!(cache.contains(&beside_hanging_operations::key(-1)).unwrap());
    gate.open();
    for (x, call) in (0..).zip(calls) {
        assert_eq!(call.join().unwrap(), x);
    }
}

/// Blocks on the future on a new thread.
fn on_a_thread<R: Send + 'static>(future: impl Future<Output = R> + Send + 'static) -> std::thread::JoinHandle<R> {
    std::thread::spawn(|| block_on(future))
}

#[test]
fn store_operations_run_outside_the_runtime_threads() {
    #[fleche]
    async fn elsewhere(x: i64) -> i64 {
        x
    }
    let seen: Arc<Mutex<Vec<ThreadId>>> = Arc::default();
    let noted = seen.clone();
    let cache = slow(move || noted.lock().unwrap().push(std::thread::current().id()));
    cache.scope(|| block_on(elsewhere(1)));
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 2);
    assert!(!seen.contains(&std::thread::current().id()));
}

#[test]
fn memory_store_is_used_on_the_polling_thread() {
    #[fleche]
    async fn in_place(x: i64) -> i64 {
        x
    }
    let _active = memory().enter();
    let mut future = pin!(in_place(1));
    assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
}

#[test]
fn hundred_concurrent_calls_are_all_recorded_on_disk() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    async fn on_disk(x: usize) -> String {
        RUNS.count();
        "y".repeat(100 + x)
    }
    let directory = tempfile::tempdir().unwrap();
    let (values, calls) = (directory.path().join("values"), directory.path().join("calls"));
    let cache = Cache::new(FileValues::open(values).unwrap(), FileCalls::open(calls).unwrap());
    let runtime = tokio();
    for _ in 0..2 {
        let calls: Vec<_> = (0..100).map(|x| runtime.spawn(cache.scope(|| on_disk(x)))).collect();
        for (x, call) in calls.into_iter().enumerate() {
            assert_eq!(runtime.block_on(call).unwrap().len(), 100 + x);
        }
    }
    assert_eq!(RUNS.take(), 100);
    assert_eq!((cache.stats().hits, cache.stats().computed), (100, 100));
}

#[test]
fn call_dropped_during_recording_is_still_recorded() {
    #[fleche]
    async fn abandoned(x: i64) -> i64 {
        x
    }
    let gates: [Arc<Gate>; 3] = std::array::from_fn(|_| Arc::default());
    let [putting, go_on, put] = gates.clone();
    let asked = AtomicUsize::new(0);
    // The record is looked up first; the hook blocks the second operation, the `put`.
    let before = move || {
        if asked.fetch_add(1, SeqCst) == 1 {
            putting.open();
            go_on.wait();
        }
    };
    let cache = slow_with(before, move || put.open());
    let [putting, go_on, put] = gates;
    let runtime = tokio();
    let call = runtime.spawn(cache.scope(|| abandoned(1)));
    putting.wait();
    call.abort();
    assert!(runtime.block_on(call).unwrap_err().is_cancelled());
    go_on.open();
    put.wait();
    assert!(cache.contains(&abandoned::key(1)).unwrap());
}

#[test]
fn panicking_store_does_not_fail_the_call() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    async fn sturdy(x: i64) -> i64 {
        RUNS.count();
        x
    }
    let cache = slow(|| panic!("the store is broken"));
    let (result, log) = logged(|| cache.scope(|| block_on(sturdy(1))));
    assert_eq!((result, RUNS.take(), cache.stats().faults), (1, 1, 2));
    assert!(log.contains("the store is broken"), "{log}");
    assert_eq!(cache.stats().skipped[&SkipReason::StoreFailed], 1);
}

#[test]
fn failing_value_store_skips_the_record() {
    #[fleche]
    async fn long(x: usize) -> String {
        "y".repeat(x)
    }
    let refuse_writes = |operation| match operation {
        Operation::WriteValue => Err(Error::Refused { store: "a value store".to_owned(), operation: "put" }),
        _ => Ok(()),
    };
    let cache = Cache::new(HookedStore::new(MemoryValues::new(), refuse_writes), MemoryCalls::new());
    assert_eq!(cache.scope(|| block_on(long(200))).len(), 200);
    assert_eq!(
        (cache.stats().skipped[&SkipReason::StoreRefused], cache.contains(&long::key(200)).unwrap()),
        (1, false)
    );
}
