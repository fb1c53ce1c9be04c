//! Tests that a record that another program writes while a body runs is kept, whether or not the store has granted a claim.

use std::{
    fs, io,
    os::unix::fs::symlink,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use fleche_core::{
    Cache, CallStore, Error,
    cache::HotTier,
    claim::{Claim, ClaimGuard},
    fleche,
    spi::CacheSpi,
};
use fleche_store_file::FileCalls;
use fleche_store_memory::{MemoryCalls, MemoryValues};

use crate::{
    fixtures::{Programs, SameName, block_on},
    hooked_store::{HookedStore, Operation},
    support::Runs,
};

/// A store's answer to a request for a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    WithinProcess,
    Held,
    Fails,
    TimesOut,
}

/// A memory store that counts its reads and answers requests for claims in this way.
#[derive(Clone, Debug)]
struct Claimed {
    calls: MemoryCalls,
    answer: Answer,
    is_exclusive: bool,
    reads: Arc<AtomicUsize>,
}

impl Claimed {
    fn new(answer: Answer, is_exclusive: bool) -> Self {
        Self { calls: MemoryCalls::new(), answer, is_exclusive, reads: Arc::default() }
    }

    /// Opens a handle of the store.
    fn open(&self) -> HookedStore<MemoryCalls> {
        let (reads, answer) = (self.reads.clone(), self.answer);
        let count = move |operation| {
            if matches!(operation, Operation::ReadRecord | Operation::ContainsRecord) {
                reads.fetch_add(1, SeqCst);
            }
            Ok(())
        };
        let claim = move || {
            let kind = match answer {
                Answer::WithinProcess => return Ok(Claim::WithinProcess),
                Answer::Held => return Ok(Claim::Held(Arc::new(Granted))),
                Answer::Fails => io::ErrorKind::PermissionDenied,
                Answer::TimesOut => io::ErrorKind::TimedOut,
            };
            Err(Error::backend("the server")(io::Error::from(kind)))
        };
        HookedStore::new(self.calls.clone(), count).with_claim(claim).with_exclusive(self.is_exclusive)
    }
}

struct Granted;

impl ClaimGuard for Granted {}

/// Two programs that share a store, whose functions have the same name and different code.
#[derive(Clone)]
struct Pair {
    before: Cache,
    now: Cache,
}

impl Pair {
    /// Creates the caches of both programs, whose breakers never try again.
    fn new<S: CallStore + 'static>(programs: &Programs, open: impl Fn() -> S) -> Self {
        let values = MemoryValues::new();
        let same_name = SameName { store: open(), keys: programs.keys.clone(), full: None };
        let [before, now] = [Cache::new(values.clone(), open()), Cache::new(values, same_name)]
            .map(|cache| cache.to_builder().hot_tier(HotTier::OFF).build().outage_clock(|| Duration::ZERO));
        Self { before, now }
    }
}

#[fleche]
fn another(x: u64) -> u64 {
    x
}

#[test]
fn record_written_while_a_body_runs_is_kept() {
    static BEFORE: Runs = Runs::new();
    static NOW: Runs = Runs::new();
    static OTHER: Mutex<Option<Cache>> = Mutex::new(None);
    #[fleche]
    fn meanwhile_before(x: u64) -> Vec<u64> {
        BEFORE.count();
        vec![x; 20]
    }
    #[fleche]
    fn meanwhile_now(x: u64) -> Vec<u64> {
        NOW.count();
        if let Some(other) = OTHER.lock().unwrap().take() {
            assert_eq!(other.scope(|| meanwhile_before(x)), vec![x; 20]);
        }
        vec![x + 1; 20]
    }
    let before = (meanwhile_before::key(1), (|| drop(meanwhile_before(1))) as fn());
    let programs = Programs::new(before, (meanwhile_now::key(1), || drop(meanwhile_now(1))));
    let directory = tempfile::tempdir().unwrap();
    let calls = directory.path().join("calls");
    let open = || FileCalls::open(&calls).unwrap();
    drop(open());
    let outside = directory.path().join("outside");
    fs::write(&outside, "").unwrap();
    symlink(&outside, calls.join(".fleche-claims")).unwrap();
    let mut pairs = vec![Pair::new(&programs, open)];
    for answer in [Answer::WithinProcess, Answer::Held, Answer::Fails, Answer::TimesOut] {
        let store = Claimed::new(answer, false);
        pairs.push(Pair::new(&programs, || store.open()));
        if answer == Answer::TimesOut {
            // The first timeout opens the breaker, so that the next call requests no claim.
            let store = Claimed::new(answer, false);
            let pair = Pair::new(&programs, || store.open());
            pair.now.scope(|| another(1));
            assert_eq!(pair.now.stats().outages, 1);
            pairs.push(pair);
        }
    }
    BEFORE.take();
    NOW.take();
    for (at, Pair { before, now }) in pairs.into_iter().enumerate() {
        *OTHER.lock().unwrap() = Some(before.clone());
        assert_eq!(now.scope(|| meanwhile_now(1)), [2; 20]);
        assert_eq!((BEFORE.take(), NOW.take()), (1, 1));
        assert!(now.record(&programs.kept).unwrap().is_some(), "pair {at}");
        assert_eq!((now.scope(|| meanwhile_now(1)), before.scope(|| meanwhile_before(1))), (vec![2; 20], vec![1; 20]));
        assert_eq!((BEFORE.take(), NOW.take()), (0, 0), "pair {at}: both results must be found again");
    }
}

#[test]
fn async_body_keeps_a_record_written_while_it_runs() {
    static BEFORE: Runs = Runs::new();
    static NOW: Runs = Runs::new();
    static OTHER: Mutex<Option<Cache>> = Mutex::new(None);
    #[fleche]
    fn awaited_before(x: u64) -> Vec<u64> {
        BEFORE.count();
        vec![x; 20]
    }
    #[fleche]
    async fn awaited_now(x: u64) -> Vec<u64> {
        NOW.count();
        if let Some(other) = OTHER.lock().unwrap().take() {
            assert_eq!(other.scope(|| awaited_before(x)), vec![x; 20]);
        }
        vec![x + 1; 20]
    }
    let before = (awaited_before::key(1), (|| drop(awaited_before(1))) as fn());
    let programs = Programs::new(before, (awaited_now::key(1), || drop(block_on(awaited_now(1)))));
    for answer in [Answer::WithinProcess, Answer::Held] {
        let store = Claimed::new(answer, false);
        let Pair { before, now } = Pair::new(&programs, || store.open());
        BEFORE.take();
        NOW.take();
        *OTHER.lock().unwrap() = Some(before.clone());
        assert_eq!(now.scope(|| block_on(awaited_now(1))), [2; 20]);
        assert_eq!((BEFORE.take(), NOW.take()), (1, 1));
        assert_eq!(now.scope(|| block_on(awaited_now(1))), [2; 20]);
        assert_eq!(before.scope(|| awaited_before(1)), [1; 20]);
        assert_eq!((BEFORE.take(), NOW.take()), (0, 0), "{answer:?}: both results must be found again");
    }
}

#[test]
fn store_is_read_again_before_recording_unless_it_is_exclusive() {
    // A granted claim has the call looked up again before the body runs.
    let cases = [
        (Answer::WithinProcess, true, 1),
        (Answer::WithinProcess, false, 2),
        (Answer::Held, true, 2),
        (Answer::Held, false, 3),
    ];
    for (answer, is_exclusive, reads) in cases {
        let store = Claimed::new(answer, is_exclusive);
        let cache = Cache::builder().values(MemoryValues::new()).calls(store.open()).hot_tier(HotTier::OFF).build();
        cache.scope(|| another(1));
        assert_eq!(store.reads.load(SeqCst), reads, "{answer:?} {is_exclusive}");
        let boxed: Arc<dyn CallStore> = Arc::new(store.open());
        assert_eq!(boxed.is_exclusive(), is_exclusive);
    }
}
