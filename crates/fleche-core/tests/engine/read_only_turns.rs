//! Tests of concurrent calls through read-only handles of a store.

use std::{
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    thread,
    time::Duration,
};

use fleche_core::{Cache, fleche, layer::ReadOnly};
use fleche_store_memory::{MemoryCalls, MemoryValues};

use super::support::Runs;

/// A time limit for waits that must end.
const LONG: Duration = Duration::from_mins(1);

#[test]
fn read_only_handles_of_one_store_compute_a_call_once() {
    static RUNS: Runs = Runs::new();
    static OTHER: OnceLock<Cache> = OnceLock::new();
    static BEGUN: OnceLock<mpsc::SyncSender<()>> = OnceLock::new();
    #[fleche]
    fn shared(x: u64) -> u64 {
        RUNS.count();
        BEGUN.get().unwrap().send(()).unwrap();
        while OTHER.get().unwrap().stats().waits == 0 {
            thread::yield_now();
        }
        x + 1
    }
    let (values, calls) = (MemoryValues::new(), MemoryCalls::new());
    let read_only = || Cache::new(ReadOnly::new(values.clone()), ReadOnly::new(calls.clone()));
    let (one, other) = (read_only(), OTHER.get_or_init(read_only));
    let (begun, is_running) = mpsc::sync_channel(2);
    BEGUN.set(begun).unwrap();
    thread::scope(|scope| {
        let first = scope.spawn(|| one.scope(|| shared(1)));
        is_running.recv_timeout(LONG).unwrap();
        assert_eq!(other.scope(|| shared(1)), 2);
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
