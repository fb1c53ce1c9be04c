//! Stores that fail while tasks are queued: they are left alone, so they cost only a few tasks time.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use fleche_core::{Cache, CallStore, Error, ExecutorExt, Result, ValueStore, fleche, spi::CacheSpi, wrap_executor};
use fleche_store_memory::{MemoryCalls, MemoryValues};

use super::{
    common::{pool, result, wait_for},
    hooked_store::{HookedStore, Operation},
};

/// The number of queued tasks.
const TASKS: i64 = 64;

#[fleche]
fn triple(x: i64) -> i64 {
    3 * x
}

#[fleche]
fn calls_triple(x: i64) -> i64 {
    triple(x) + 1
}

/// The operations that fail, and how.
#[derive(Clone, Copy, Debug)]
enum Mode {
    Works,
    Unclaimable(io::ErrorKind),
    Broken(io::ErrorKind),
}

/// Stores that only the pool's process can use, that may block, and that count the operations that calls perform on them.
#[derive(Clone, Debug)]
struct Server {
    values: MemoryValues,
    calls: MemoryCalls,
    mode: Arc<Mutex<Mode>>,
    operations: Arc<AtomicUsize>,
    claims: Arc<AtomicUsize>,
}

impl Server {
    fn new() -> Self {
        Self {
            values: MemoryValues::new(),
            calls: MemoryCalls::new(),
            mode: Arc::new(Mutex::new(Mode::Works)),
            operations: Arc::default(),
            claims: Arc::default(),
        }
    }

    /// Returns a cache whose pauses for failing stores never end in this process.
    fn cache(&self) -> Cache {
        let [for_values, for_calls] = [(); 2].map(|()| {
            let server = self.clone();
            move |operation| server.count(operation)
        });
        let values = HookedStore::new(self.values.clone(), ValueStore::config(&self.values), for_values);
        let calls = HookedStore::new(self.calls.clone(), CallStore::config(&self.calls), for_calls);
        Cache::new(values, calls).outage_clock(|| Duration::ZERO)
    }

    fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
        self.operations.store(0, SeqCst);
        self.claims.store(0, SeqCst);
    }

    fn claims(&self) -> usize {
        self.claims.load(SeqCst)
    }

    /// Counts the operation, and fails if it does so in this mode.
    fn count(&self, operation: Operation) -> Result<()> {
        let is_claim = operation == Operation::Claim;
        self.claims.fetch_add(usize::from(is_claim), SeqCst);
        self.operations.fetch_add(1, SeqCst);
        let mode = *self.mode.lock().unwrap();
        match mode {
            Mode::Broken(kind) => Err(Error::backend("the server")(io::Error::from(kind))),
            Mode::Unclaimable(kind) if is_claim => Err(Error::backend("the server")(io::Error::from(kind))),
            Mode::Works | Mode::Unclaimable(_) => Ok(()),
        }
    }
}

/// Queues tasks while the stores work, and runs them in one worker while the stores fail as `mode` says.
fn run_queued_tasks_amid(mode: Mode) -> (Server, Cache) {
    let server = Server::new();
    let cache = server.cache();
    let directory = tempfile::tempdir().unwrap();
    let gate = directory.path().join("gate");
    cache.scope(|| {
        let pool = wrap_executor(pool(1));
        let busy = pool.submit(wait_for, (gate.clone(),));
        let queued: Vec<_> = (0..TASKS).map(|x| pool.submit(calls_triple, (x,))).collect();
        server.set(mode);
        std::fs::write(gate, "").unwrap();
        result(busy).unwrap();
        for (x, job) in (0..).zip(queued) {
            assert_eq!(result(job), Ok(3 * x + 1));
        }
    });
    (server, cache)
}

#[test]
fn claims_that_time_out_cost_the_queued_tasks_one_timeout() {
    let (server, cache) = run_queued_tasks_amid(Mode::Unclaimable(io::ErrorKind::TimedOut));
    assert_eq!((server.claims(), cache.stats().outages), (1, 1));
    assert_eq!(cache.stats().computed, 2 * u64::try_from(TASKS).unwrap());
    cache.scope(|| assert!((0..TASKS).all(|x| calls_triple::contains(x).unwrap() && triple::contains(x).unwrap())));
}

#[test]
fn claims_that_fail_are_asked_for_three_times_by_the_queued_tasks() {
    let (server, cache) = run_queued_tasks_amid(Mode::Unclaimable(io::ErrorKind::ConnectionRefused));
    assert_eq!(server.claims(), 3);
    cache.scope(|| assert!((0..TASKS).all(|x| calls_triple::contains(x).unwrap() && triple::contains(x).unwrap())));
}

#[test]
fn store_that_does_not_answer_costs_the_queued_tasks_few_timeouts() {
    let (server, cache) = run_queued_tasks_amid(Mode::Broken(io::ErrorKind::TimedOut));
    assert_eq!((server.claims(), cache.stats().computed), (1, 2 * u64::try_from(TASKS).unwrap()));
    // The worker measures its pauses by its own clock, so a slow one may try the store again a few times.
    let operations = server.operations.load(SeqCst);
    assert!(operations <= 24, "{TASKS} tasks performed {operations} operations");
}
