//! Tests of the circuit breaker, which stops using a store that fails repeatedly for some time.

use std::{
    io,
    sync::{
        Arc, Barrier,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    time::{Duration, Instant},
};

use fleche_core::{
    Cache, Error, Result, SkipReason,
    cache::HotTier,
    claim::{Claim, ClaimGuard},
    fleche,
    spi::CacheSpi,
};
use fleche_store_memory::{MemoryCalls, MemoryValues};

use crate::{
    fixtures::{block_on, long_result},
    hooked_store::{HookedStore, Operation},
    support::{Runs, logged},
};

/// A time limit for waits that must end.
const PATIENCE: Duration = Duration::from_mins(2);

/// The outcome of a store's operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Works,
    /// Reads succeed and writes fail.
    Full,
    /// Claims fail, and everything else succeeds.
    Unclaimable,
    /// Writes of records fail, and everything else succeeds.
    Unrecordable,
    Broken,
    TimesOut,
    Panics,
}

/// Memory stores that count their operations, whose outcome the mode determines.
#[derive(Clone, Debug, Default)]
struct Server {
    values: MemoryValues,
    calls: MemoryCalls,
    mode: Arc<std::sync::Mutex<Mode>>,
    operations: Arc<AtomicUsize>,
    claims: Arc<AtomicUsize>,
    /// The time in seconds of the clock that the circuit breaker uses.
    seconds: Arc<AtomicU64>,
    released: Arc<std::sync::Mutex<Vec<bool>>>,
}

impl Server {
    fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    /// Returns the number of operations since the last call.
    fn operations(&self) -> usize {
        self.operations.swap(0, SeqCst)
    }

    /// Returns the number of claims since the last call.
    fn claims(&self) -> usize {
        self.claims.swap(0, SeqCst)
    }

    fn cache(&self) -> Cache {
        self.cache_with(HotTier::OFF)
    }

    fn cache_with(&self, tier: HotTier) -> Cache {
        let seconds = self.seconds.clone();
        let clock = move || Duration::from_secs(seconds.load(SeqCst));
        Cache::builder().values(self.values()).calls(self.calls()).hot_tier(tier).build().outage_clock(clock)
    }

    fn values(&self) -> HookedStore<MemoryValues> {
        let server = self.clone();
        HookedStore::new(self.values.clone(), move |operation| server.operation(operation))
    }

    fn calls(&self) -> HookedStore<MemoryCalls> {
        let (server, granting) = (self.clone(), self.clone());
        let calls = HookedStore::new(self.calls.clone(), move |operation| server.operation(operation));
        calls.with_claim(move || {
            Ok(Claim::Held(Arc::new(Granted { server: granting.clone(), in_background: AtomicUsize::new(0) })))
        })
    }

    /// Advances the clock by the pause after a first failure.
    fn pause(&self) {
        self.seconds.fetch_add(1, SeqCst);
    }

    /// Counts the operation, and fails or panics as the mode says.
    fn operation(&self, operation: Operation) -> Result<()> {
        if operation == Operation::Claim {
            self.claims.fetch_add(1, SeqCst);
        }
        self.operations.fetch_add(1, SeqCst);
        let is_write = matches!(operation, Operation::WriteValue | Operation::WriteRecord | Operation::Claim);
        let mode = *self.mode.lock().unwrap();
        let kind = match mode {
            Mode::Works => return Ok(()),
            Mode::Full if !is_write => return Ok(()),
            Mode::Unclaimable if operation != Operation::Claim => return Ok(()),
            Mode::Unrecordable if operation != Operation::WriteRecord => return Ok(()),
            Mode::Full | Mode::Unclaimable | Mode::Unrecordable => io::ErrorKind::StorageFull,
            Mode::Broken => io::ErrorKind::ConnectionRefused,
            Mode::TimesOut => io::ErrorKind::TimedOut,
            Mode::Panics => panic!("the store panics"),
        };
        Err(Error::backend("the server")(io::Error::from(kind)))
    }
}

struct Granted {
    server: Server,
    in_background: AtomicUsize,
}

impl ClaimGuard for Granted {
    fn release_in_background(&self) {
        self.in_background.fetch_add(1, SeqCst);
    }
}

impl Drop for Granted {
    fn drop(&mut self) {
        self.server.released.lock().unwrap().push(self.in_background.load(SeqCst) > 0);
    }
}

fn left_alone(cache: &Cache) -> u64 {
    cache.stats().skipped.get(&SkipReason::StoreLeftAlone).copied().unwrap_or_default()
}

#[test]
fn store_is_not_used_after_three_failures_in_a_row() {
    long_result!(amid_failures);
    for mode in [Mode::Broken, Mode::Panics] {
        let server = Server::default();
        let cache = server.cache();
        server.set(mode);
        let ((), log) = logged(|| {
            for length in 100..110 {
                assert_eq!(cache.scope(|| amid_failures(length)).len(), length);
            }
        });
        assert_eq!(RUNS.take(), 10);
        // The first call makes two lookups, a claim and a write; the lookup of the second opens the breaker.
        let (asked, stats) = (server.operations(), cache.stats());
        assert_eq!(asked, 5);
        assert_eq!((stats.faults, stats.outages), (asked as u64, 1), "{stats:?}");
        assert_eq!(left_alone(&cache), 9, "{stats:?}");
        assert_eq!(log.matches("failed repeatedly").count(), 1, "{log}");
    }
}

#[test]
fn store_that_does_not_answer_costs_one_timeout() {
    long_result!(amid_timeouts);
    let server = Server::default();
    let cache = server.cache();
    server.set(Mode::TimesOut);
    for length in 100..110 {
        assert_eq!(cache.scope(|| amid_timeouts(length)).len(), length);
    }
    assert_eq!((RUNS.take(), server.operations()), (10, 1));
    let stats = cache.stats();
    assert_eq!((stats.misses, stats.faults, stats.outages, left_alone(&cache)), (10, 1, 1, 10), "{stats:?}");
}

#[test]
fn store_that_does_not_answer_costs_an_async_call_one_timeout() {
    #[fleche]
    async fn awaits_timeouts(length: usize) -> String {
        RUNS.count();
        "z".repeat(length)
    }
    static RUNS: Runs = Runs::new();
    let server = Server::default();
    let cache = server.cache();
    server.set(Mode::TimesOut);
    for length in 100..110 {
        let call = cache.scope(|| awaits_timeouts(length));
        assert_eq!(block_on(call).len(), length);
    }
    assert_eq!((RUNS.take(), server.operations(), left_alone(&cache)), (10, 1, 10));
}

#[test]
fn claim_is_released_in_background_after_a_store_timeout() {
    #[fleche(local, ignore(server))]
    fn stops(server: &Server, length: usize) -> String {
        server.set(Mode::TimesOut);
        "z".repeat(length)
    }
    let server = Server::default();
    let cache = server.cache();
    cache.scope(|| stops(&server, 100));
    // Lookup, claim, lookup under the claim, and the value.
    assert_eq!(server.operations(), 4);
    assert_eq!(*server.released.lock().unwrap(), [true]);
    assert_eq!((cache.stats().faults, cache.stats().outages), (1, 1));
    server.set(Mode::Works);
    cache.scope(|| stops(&Server::default(), 101));
    assert_eq!(*server.released.lock().unwrap(), [true, true], "the breaker of the value store must still be open");
}

#[test]
fn store_that_fails_only_writes_still_serves_hits() {
    long_result!(full);
    let server = Server::default();
    let cache = server.cache();
    let _active = cache.enter();
    full(100);
    server.set(Mode::Full);
    for length in 101..110 {
        full(length);
    }
    // Claims and values each fail three times; no record is written without its value.
    assert_eq!((RUNS.take(), cache.stats().outages), (10, 2));
    assert_eq!((full(100).len(), RUNS.take()), (100, 0));
    // The call is looked up, but neither claimed nor put.
    server.operations();
    full(200);
    assert_eq!((RUNS.take(), server.operations()), (1, 1));
}

#[test]
fn results_are_recorded_although_claims_fail() {
    long_result!(unclaimed);
    let server = Server::default();
    let cache = server.cache();
    let _active = cache.enter();
    server.set(Mode::Unclaimable);
    for length in 100..110 {
        unclaimed(length);
    }
    let stats = cache.stats();
    assert_eq!((RUNS.take(), server.claims(), stats.outages, left_alone(&cache)), (10, 3, 1, 0), "{stats:?}");
    for length in 100..110 {
        assert_eq!(unclaimed(length).len(), length);
    }
    assert_eq!((RUNS.take(), cache.stats().hits), (0, 10));
}

#[test]
fn claims_are_made_although_records_cannot_be_written() {
    long_result!(unrecorded);
    let server = Server::default();
    let cache = server.cache();
    let _active = cache.enter();
    server.set(Mode::Unrecordable);
    for length in 100..110 {
        unrecorded(length);
    }
    let stats = cache.stats();
    assert_eq!((RUNS.take(), server.claims(), stats.outages, left_alone(&cache)), (10, 10, 1, 7), "{stats:?}");
    server.set(Mode::Works);
    server.pause();
    unrecorded(100);
    assert_eq!((unrecorded(100).len(), RUNS.take()), (100, 1));
}

#[test]
fn hot_results_are_served_while_the_breaker_is_open() {
    long_result!(heated);
    let server = Server::default();
    let cache = server.cache_with(HotTier::DEFAULT);
    let _active = cache.enter();
    heated(100);
    server.set(Mode::TimesOut);
    heated(101);
    server.operations();
    assert_eq!((heated(100).len(), RUNS.take(), server.operations()), (100, 2, 0));
}

#[test]
fn damage_and_refusals_do_not_count_as_failures() {
    long_result!(refused);
    let server = Server::default();
    let read_only = fleche_core::layer::ReadOnly::new(server.calls());
    let cache = Cache::builder().values(server.values()).calls(read_only).hot_tier(HotTier::OFF).build();
    for length in 100..110 {
        cache.scope(|| refused(length));
    }
    let stats = cache.stats();
    assert_eq!((stats.outages, stats.skipped.get(&SkipReason::StoreRefused), left_alone(&cache)), (0, Some(&10), 0));
    RUNS.take();
}

#[test]
fn direct_cache_operations_ignore_the_breaker() {
    long_result!(asked);
    let server = Server::default();
    let cache = server.cache();
    let _active = cache.enter();
    asked(100);
    server.set(Mode::TimesOut);
    asked(101);
    server.set(Mode::Works);
    assert!(asked::contains(100).unwrap());
    assert_eq!(asked::load(100).unwrap().map(|found| found.len()), Some(100));
    assert!(asked::evict(100).unwrap());
    RUNS.take();
}

#[test]
fn concurrent_calls_are_coalesced_while_the_breaker_is_open() {
    #[fleche(local, ignore(gate))]
    fn shared(gate: &Gate, x: u64) -> u64 {
        RUNS.count();
        gate.0.send(()).unwrap();
        gate.1.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        x
    }
    struct Gate(mpsc::Sender<()>, std::sync::Mutex<mpsc::Receiver<()>>);
    static RUNS: Runs = Runs::new();
    let server = Server::default();
    let cache = server.cache();
    server.set(Mode::TimesOut);
    let ((say, running), (open, opened)) = (mpsc::channel(), mpsc::channel());
    let gate = Gate(say, std::sync::Mutex::new(opened));
    std::thread::scope(|scope| {
        let leader = scope.spawn(|| cache.scope(|| shared(&gate, 1)));
        running.recv_timeout(PATIENCE).unwrap();
        let waits = cache.stats().waits;
        let follower = scope.spawn(|| cache.scope(|| shared(&gate, 1)));
        let begun = Instant::now();
        while cache.stats().waits == waits {
            assert!(begun.elapsed() < PATIENCE, "no caller waits");
            std::thread::yield_now();
        }
        open.send(()).unwrap();
        assert_eq!((leader.join().unwrap(), follower.join().unwrap()), (1, 1));
    });
    assert_eq!(RUNS.take(), 1);
}

#[test]
fn one_of_the_bodies_that_outlast_a_pause_asks_the_store() {
    #[fleche(local, ignore(gate))]
    fn outlasts(gate: &Barrier, length: usize) -> String {
        RUNS.count();
        gate.wait();
        gate.wait();
        "z".repeat(length)
    }
    #[fleche]
    fn opens(length: usize) -> String {
        "z".repeat(length)
    }
    static RUNS: Runs = Runs::new();
    const BODIES: usize = 8;
    let server = Server::default();
    let cache = server.cache();
    server.set(Mode::TimesOut);
    cache.scope(|| opens(100));
    assert_eq!((server.operations(), left_alone(&cache)), (1, 1));
    let gate = Barrier::new(BODIES + 1);
    std::thread::scope(|scope| {
        for length in 100..100 + BODIES {
            scope.spawn({
                let (cache, gate) = (&cache, &gate);
                move || assert_eq!(cache.scope(|| outlasts(gate, length)).len(), length)
            });
        }
        gate.wait();
        assert_eq!(server.operations(), 0, "no look-up and no claim asks the store during the pause");
        server.pause();
        gate.wait();
    });
    assert_eq!((RUNS.take(), server.operations()), (BODIES, 1));
    let stats = cache.stats();
    let failed = stats.skipped.get(&SkipReason::StoreFailed).copied();
    assert_eq!((failed, left_alone(&cache), stats.faults), (Some(1), BODIES as u64, 2), "{stats:?}");
}

#[test]
fn recovered_store_is_used_again() {
    long_result!(back);
    let server = Server::default();
    let cache = server.cache();
    let _active = cache.enter();
    server.set(Mode::TimesOut);
    back(100);
    server.set(Mode::Works);
    back(100);
    assert_eq!(
        (RUNS.take(), server.operations(), left_alone(&cache)),
        (2, 1, 2),
        "the breaker must stay open during the pause"
    );
    server.pause();
    back(100);
    assert_eq!(RUNS.take(), 1);
    assert_eq!((back(100).len(), RUNS.take()), (100, 0));
    assert_eq!((cache.stats().outages, cache.stats().faults), (1, 1));
}
