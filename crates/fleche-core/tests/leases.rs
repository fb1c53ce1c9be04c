//! Tests of leases with a simulated store and clock: every short sequence of events among three processes, and the
//! renewal thread.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
        mpsc,
    },
    time::Duration,
};

use fleche_core::{
    CallKey, Digest, Error, Result,
    claim::{Claim, ClaimGuard, ClaimHolder, LeaseTable, Leases},
};

const LASTS: Duration = Duration::from_secs(3);

fn key() -> CallKey {
    CallKey::from(Digest::hash(b"a call"))
}

/// The store that the processes share, with its clock in milliseconds.
#[derive(Clone, Default)]
struct Store(Arc<Inner>);

#[derive(Default)]
struct Inner {
    now: AtomicU64,
    grants: AtomicU64,
    broken: AtomicBool,
    leases: Mutex<HashMap<CallKey, Lease>>,
}

struct Lease {
    grant: u64,
    until: u64,
    owner: ClaimHolder,
}

impl Store {
    fn pass(&self, time: Duration) {
        self.0.now.fetch_add(millis(time), SeqCst);
    }

    fn now(&self) -> u64 {
        self.0.now.load(SeqCst)
    }

    fn check(&self) -> Result<()> {
        if self.0.broken.load(SeqCst) {
            return Err(Error::Refused { store: "the store".to_owned(), operation: "answer" });
        }
        Ok(())
    }

    /// Returns the leases of one process, which uses the store's clock.
    fn process(&self) -> Leases<Self> {
        let store = self.clone();
        Leases::with_manual_clock(self.clone(), LASTS, Arc::new(move || Duration::from_millis(store.now())))
    }

    fn awaits(&self) -> Option<Vec<CallKey>> {
        self.0.leases.lock().unwrap()[&key()].owner.waiting_on.clone()
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap()
}

impl LeaseTable for Store {
    fn acquire(&self, key: &CallKey, owner: &ClaimHolder, lasts: Duration) -> Result<Option<u64>> {
        self.check()?;
        let mut leases = self.0.leases.lock().unwrap();
        if leases.get(key).is_some_and(|lease| lease.until > self.now()) {
            return Ok(None);
        }
        let grant = self.0.grants.fetch_add(1, SeqCst);
        leases.insert(*key, Lease { grant, until: self.now() + millis(lasts), owner: owner.clone() });
        Ok(Some(grant))
    }

    fn renew(&self, key: &CallKey, grant: u64, lasts: Duration) -> Result<bool> {
        self.check()?;
        let mut leases = self.0.leases.lock().unwrap();
        let lease = leases.get_mut(key).filter(|lease| lease.grant == grant);
        Ok(lease.map(|lease| lease.until = self.now() + millis(lasts)).is_some())
    }

    fn release(&self, key: &CallKey, grant: u64) -> Result<()> {
        self.check()?;
        self.0.leases.lock().unwrap().retain(|of, lease| of != key || lease.grant != grant);
        Ok(())
    }

    fn publish(&self, key: &CallKey, grant: u64, awaits: Option<&[CallKey]>) -> Result<()> {
        self.check()?;
        let mut leases = self.0.leases.lock().unwrap();
        if let Some(lease) = leases.get_mut(key).filter(|lease| lease.grant == grant) {
            lease.owner.waiting_on = awaits.map(<[_]>::to_vec);
        }
        Ok(())
    }
}

/// A process that computes the call, waits for it, or does neither.
struct Process {
    leases: Leases<Store>,
    held: Arc<Mutex<Option<Arc<dyn ClaimGuard>>>>,
    waits: Arc<AtomicBool>,
    lives: bool,
}

impl Process {
    fn new(store: &Store) -> Self {
        Self { leases: store.process(), held: Arc::default(), waits: Arc::default(), lives: true }
    }

    fn holds(&self) -> bool {
        self.lives && self.held.lock().unwrap().as_ref().is_some_and(|held| !held.is_expired())
    }

    fn ask(&self) {
        if self.held.lock().unwrap().is_some() || self.waits.load(SeqCst) {
            return;
        }
        match self.leases.claim(&key()).unwrap() {
            Claim::Held(held) => *self.held.lock().unwrap() = Some(held),
            Claim::Taken(taken) => {
                self.waits.store(true, SeqCst);
                let (place, waits) = (self.held.clone(), self.waits.clone());
                taken.when_acquired(Box::new(move |held| {
                    waits.store(false, SeqCst);
                    *place.lock().unwrap() = Some(held.unwrap());
                }));
            }
            Claim::WithinProcess => unreachable!("leases reach other processes"),
        }
    }

    fn end(&self) {
        drop(self.held.lock().unwrap().take());
    }

    /// Ends the process without releasing its claim.
    fn die(&mut self) {
        self.lives = false;
        std::mem::forget(self.held.lock().unwrap().take());
    }
}

const PROCESSES: usize = 3;
/// The number of events: four for each process, and the passing of time for all.
const EVENTS: usize = 4 * PROCESSES + 1;
const DEPTH: u32 = 5;

fn happen(event: usize, store: &Store, processes: &mut [Process]) {
    if event == 4 * PROCESSES {
        return store.pass(LASTS / 2);
    }
    let process = &mut processes[event / 4];
    if !process.lives {
        return;
    }
    match event % 4 {
        0 => process.ask(),
        1 => {
            process.leases.process_due();
        }
        2 => process.end(),
        _ => process.die(),
    }
}

#[test]
fn claim_has_at_most_one_holder_and_passes_on_after_losses() {
    for history in 0..EVENTS.pow(DEPTH) {
        let store = Store::default();
        let mut processes: Vec<_> = (0..PROCESSES).map(|_| Process::new(&store)).collect();
        let mut left = history;
        for _ in 0..DEPTH {
            happen(left % EVENTS, &store, &mut processes);
            left /= EVENTS;
            let holders = processes.iter().filter(|process| process.holds()).count();
            assert!(holders <= 1, "history {history}: {holders} processes hold the claim");
        }
        // All live processes continue: each waiter acquires the claim in turn, within one lease duration each.
        for _ in 0..2 * PROCESSES {
            store.pass(LASTS / 2);
            for process in processes.iter().filter(|process| process.lives) {
                process.leases.process_due();
            }
            let holders: Vec<_> = processes.iter().filter(|process| process.holds()).collect();
            assert!(holders.len() <= 1, "history {history}");
            for process in processes.iter().filter(|process| process.lives) {
                process.end();
            }
        }
        store.pass(LASTS);
        for process in processes.iter().filter(|process| process.lives) {
            process.leases.process_due();
            assert!(!process.waits.load(SeqCst), "history {history}: a process still waits");
            process.end();
        }
    }
}

#[test]
fn holder_suspended_for_too_long_loses_its_lease() {
    let store = Store::default();
    let (one, other) = (Process::new(&store), Process::new(&store));
    one.ask();
    store.pass(LASTS.saturating_sub(Duration::from_millis(1)));
    assert!(one.holds());
    store.pass(Duration::from_millis(1));
    assert!(!one.holds(), "another process may hold the claim by now");
    other.ask();
    one.leases.process_due();
    assert!(!one.holds() && other.holds());
    one.end();
    assert!(other.holds(), "a late release must not affect the new holder");
}

#[test]
fn suspended_holder_renews_if_no_other_process_wants_the_lease() {
    let store = Store::default();
    let one = Process::new(&store);
    one.ask();
    store.pass(2 * LASTS);
    one.leases.process_due();
    assert!(one.holds());
}

#[test]
fn lease_is_renewed_three_times_per_duration() {
    let store = Store::default();
    let one = Process::new(&store);
    assert_eq!(one.leases.process_due(), None);
    one.ask();
    assert_eq!(one.leases.process_due(), Some(LASTS / 3));
    for _ in 0..30 {
        store.pass(LASTS / 3);
        one.leases.process_due();
        assert!(one.holds());
    }
    one.end();
    assert_eq!(one.leases.process_due(), None);
}

#[test]
fn failing_store_expires_leases_and_fails_waiters() {
    let store = Store::default();
    let (one, other) = (Process::new(&store), Process::new(&store));
    one.ask();
    let Claim::Taken(taken) = other.leases.claim(&key()).unwrap() else { panic!("the lease must be taken") };
    let (told, hears) = mpsc::channel();
    taken.when_acquired(Box::new(move |held| told.send(held.is_err()).unwrap()));
    store.0.broken.store(true, SeqCst);
    for _ in 0..10 {
        store.pass(LASTS / 10);
        one.leases.process_due();
        other.leases.process_due();
    }
    assert!(!one.holds());
    assert_eq!(hears.recv(), Ok(true));
    assert!(other.leases.claim(&key()).is_err());
}

#[test]
fn awaited_calls_of_a_holder_are_published() {
    let store = Store::default();
    let Claim::Held(held) = store.process().claim(&key()).unwrap() else { panic!("the lease must be free") };
    assert_eq!(store.awaits(), Some(vec![]));
    assert!(held.publishes());
    held.publish_waits(Some(&[key()]));
    assert_eq!(store.awaits(), Some(vec![key()]));
    held.publish_waits(None);
    assert_eq!(store.awaits(), None);
}

#[test]
fn background_thread_renews_and_acquires_leases() {
    let store = Store::default();
    // The thread waits a third of this between renewals; the test advances the store's clock.
    let lasts = Duration::from_millis(30);
    let (one, other) = (Leases::new(store.clone(), lasts), Leases::new(store.clone(), lasts));
    let Claim::Held(held) = one.claim(&key()).unwrap() else { panic!("the lease must be free") };
    let until = || store.0.leases.lock().unwrap()[&key()].until;
    for _ in 0..5 {
        let before = until();
        store.pass(lasts / 3);
        while until() == before {
            std::thread::yield_now();
        }
    }
    let Claim::Taken(taken) = other.claim(&key()).unwrap() else { panic!("the lease must be taken") };
    let (got, gets) = mpsc::channel();
    taken.when_acquired(Box::new(move |held| got.send(held.unwrap()).unwrap()));
    drop(held);
    assert!(!gets.recv().unwrap().is_expired());
}
