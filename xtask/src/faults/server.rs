//! Stops or kills a temporary PostgreSQL server with real signals while calls are made, and checks the calls.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
        mpsc::{self, Receiver, SyncSender},
    },
    thread,
    time::{Duration, Instant},
};

use fleche_core::{Cache, SkipReason, cache::HotTier, fleche, spi::LockResultExt};
use fleche_store_sql::{SqlCalls, SqlCallsConfig, SqlValues, SqlValuesConfig};

use crate::postgres::Server;

/// The store's limit for one operation.
const TIMEOUT: Duration = Duration::from_secs(1);
/// The time limit for a step. A cache tries a failing store again within a minute.
const PATIENCE: Duration = Duration::from_mins(3);
const THREADS: usize = 4;
/// The number of calls that must end before and during each failure.
const CALLS: u64 = 200;

/// The failure of a server.
#[derive(Clone, Copy, Debug)]
pub(super) enum Failure {
    Stopped,
    Killed,
}

impl Failure {
    pub(super) const ALL: [Self; 2] = [Self::Stopped, Self::Killed];
}

static BODIES: AtomicU64 = AtomicU64::new(0);

/// Returns a result that is stored in the record if `x` is even, and in the value store if it is odd.
#[fleche]
fn result(x: u64) -> Vec<u64> {
    BODIES.fetch_add(1, SeqCst);
    expected(x)
}

fn expected(x: u64) -> Vec<u64> {
    vec![x; if x.is_multiple_of(2) { 2 } else { 100 }]
}

/// Makes calls while the server fails and recovers, and returns how many ended during the failure.
///
/// # Errors
/// Fails if the server cannot be started, if a call returns a wrong result or hangs, or if a recorded result is lost.
pub(super) fn run(failure: Failure) -> Result<u64, String> {
    let mut server = Server::start()?;
    let values = SqlValuesConfig::new(server.url.clone()).timeout(TIMEOUT);
    let calls = SqlCallsConfig::new(server.url.clone()).timeout(TIMEOUT);
    let open = || {
        let values = SqlValues::open_with(&values).map_err(|error| error.report().to_string())?;
        let calls = SqlCalls::open_with(&calls).map_err(|error| error.report().to_string())?;
        Ok::<_, String>(Cache::builder().values(values).calls(calls).hot_tier(HotTier::OFF).build())
    };
    let cache = open()?;
    let load = Load::new(cache.clone());
    let amid = thread::scope(|scope| {
        let (ended, calls) = mpsc::sync_channel(THREADS);
        for _ in 0..THREADS {
            let (load, ended) = (&load, ended.clone());
            scope.spawn(move || load.run(&ended));
        }
        drop(ended);
        let amid = load.watch(&calls, failure, &mut server);
        load.stop.store(true, SeqCst);
        // The threads end when they can send no further outcome.
        drop(calls);
        amid
    })?;
    let stats = cache.stats();
    if stats.outages == 0 || !stats.skipped.contains_key(&SkipReason::StoreLeftAlone) {
        return Err(format!("the circuit breaker did not open: {stats:?}"));
    }
    let acknowledged = load.into_acknowledged();
    drop(cache);
    check_recorded(&open()?, &acknowledged)?;
    Ok(amid)
}

/// The calls that several threads make.
struct Load {
    cache: Cache,
    next: AtomicU64,
    stop: AtomicBool,
    /// Whether the server is known to be failing.
    failing: AtomicBool,
    /// The calls that the store has reported as recorded.
    acknowledged: Mutex<BTreeSet<u64>>,
}

type ThreadResult = Result<(), String>;

impl Load {
    fn new(cache: Cache) -> Self {
        Self {
            cache,
            next: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            failing: AtomicBool::new(false),
            acknowledged: Mutex::default(),
        }
    }

    fn acknowledged(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.acknowledged.lock().ignore_poison()
    }

    /// Makes calls until it is stopped. Most are new, and every eighth repeats an earlier one.
    fn run(&self, ended: &SyncSender<ThreadResult>) {
        let _active = self.cache.enter();
        while !self.stop.load(SeqCst) {
            let next = self.next.fetch_add(1, SeqCst);
            let x = if next.is_multiple_of(8) { next / 2 } else { next };
            let outcome =
                if result(x) == expected(x) { Ok(()) } else { Err(format!("the result of call {x} is wrong")) };
            // During the failure, this would run into the timeout each time.
            if !self.failing.load(SeqCst) && result::contains(x).unwrap_or(false) {
                self.acknowledged().insert(x);
            }
            if ended.send(outcome).is_err() {
                return;
            }
        }
    }

    /// Makes the server fail and recover while calls are made, and returns how many calls ended during the failure.
    fn watch(&self, ended: &Receiver<ThreadResult>, failure: Failure, server: &mut Server) -> Result<u64, String> {
        let next = |when: &str| match ended.recv_timeout(PATIENCE) {
            Ok(outcome) => outcome.map_err(|why| format!("{when}: {why}")),
            Err(_) => Err(format!("{when}: no call has ended for {PATIENCE:?}")),
        };
        (0..CALLS).try_for_each(|_| next("before the failure"))?;
        match failure {
            Failure::Stopped => server.suspend(),
            Failure::Killed => server.kill(),
        }
        self.failing.store(true, SeqCst);
        (0..CALLS).try_for_each(|_| next("during the failure"))?;
        match failure {
            Failure::Stopped => server.resume(),
            Failure::Killed => server.restart()?,
        }
        let (known, begun) = (self.acknowledged().len() as u64, Instant::now());
        self.failing.store(false, SeqCst);
        while (self.acknowledged().len() as u64) < known + CALLS / 4 {
            next("after the failure")?;
            if begun.elapsed() > PATIENCE {
                return Err(format!("no new results were recorded within {PATIENCE:?} after the server's recovery"));
            }
        }
        Ok(CALLS)
    }

    fn into_acknowledged(self) -> BTreeSet<u64> {
        self.acknowledged.into_inner().ignore_poison()
    }
}

/// Checks, with another handle, that every acknowledged call is a hit.
fn check_recorded(anew: &Cache, acknowledged: &BTreeSet<u64>) -> Result<(), String> {
    let before = BODIES.load(SeqCst);
    let is_right = anew.scope(|| acknowledged.iter().all(|x| result(*x) == expected(*x)));
    match BODIES.load(SeqCst) - before {
        _ if !is_right => Err("a recorded result is wrong".to_owned()),
        0 => Ok(()),
        lost => Err(format!("of {} recorded results, {lost} are lost", acknowledged.len())),
    }
}
