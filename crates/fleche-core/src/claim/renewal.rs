//! The schedule of lease renewals and acquisitions, and the thread that follows it.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    time::Duration,
};

use super::OnAcquired;
use crate::runtime::{internal_threads::WaiterThreadGuard, lock::LockResultExt};
use crate::{
    call::CallKey,
    runtime::{panics::contain, thread_spawner},
};

/// The first and the longest interval between attempts to acquire a lease that another process holds.
const MIN_POLL: Duration = Duration::from_millis(10);
const MAX_POLL: Duration = Duration::from_millis(250);
/// The time without work after which the thread ends.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(super) struct RenewalSchedule(Arc<RenewalThread>);

#[derive(Default)]
struct RenewalThread {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    kept: HashMap<(CallKey, u64), Kept>,
    wanted: Vec<Wanted>,
    /// The leases to release in the background.
    released: Vec<(CallKey, u64)>,
    /// The number of times that the next due time may have changed.
    changes: u64,
    /// Whether the background thread runs.
    beating: bool,
    jitter: RandomState,
}

/// A lease that is renewed regularly.
struct Kept {
    renewed: Duration,
    due: Duration,
    lost: bool,
}

/// A lease that a caller waits for.
pub(super) struct Wanted {
    pub(super) key: CallKey,
    pub(super) then: OnAcquired,
    interval: Duration,
    due: Duration,
}

impl RenewalSchedule {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }

    pub(super) fn keep(&self, key: CallKey, grant: u64, now: Duration, ttl: Duration) {
        let mut state = self.lock();
        state.kept.insert((key, grant), Kept { renewed: now, due: now + ttl / 3, lost: false });
        state.changes += 1;
        self.0.changed.notify_one();
    }

    pub(super) fn forget(&self, key: &CallKey, grant: u64) {
        self.lock().kept.remove(&(*key, grant));
    }

    pub(super) fn renewed(&self, key: &CallKey, grant: u64, now: Duration, ttl: Duration) {
        if let Some(kept) = self.lock().kept.get_mut(&(*key, grant)) {
            (kept.renewed, kept.due) = (now, now + ttl / 3);
        }
    }

    /// Schedules another attempt soon for the renewals that are due and failed.
    pub(super) fn postpone_renewals(&self, now: Duration, ttl: Duration) {
        for kept in self.lock().kept.values_mut().filter(|kept| kept.due <= now) {
            kept.due = now + ttl / 10;
        }
    }

    /// Schedules the release of this lease for the next round.
    pub(super) fn release(&self, key: CallKey, grant: u64) {
        let mut state = self.lock();
        state.released.push((key, grant));
        state.changes += 1;
        self.0.changed.notify_one();
    }

    /// Takes the leases that are to be released.
    pub(super) fn released(&self) -> Vec<(CallKey, u64)> {
        mem::take(&mut self.lock().released)
    }

    /// Records that another process has acquired the lease.
    pub(super) fn lost(&self, key: &CallKey, grant: u64) {
        if let Some(kept) = self.lock().kept.get_mut(&(*key, grant)) {
            (kept.lost, kept.due) = (true, Duration::MAX);
        }
    }

    /// Returns whether another process has acquired the lease, or may have.
    pub(super) fn is_expired(&self, key: &CallKey, grant: u64, now: Duration, ttl: Duration) -> bool {
        self.lock().kept.get(&(*key, grant)).is_none_or(|kept| kept.lost || now.saturating_sub(kept.renewed) >= ttl)
    }

    pub(super) fn want(&self, key: CallKey, then: OnAcquired, now: Duration) {
        let mut state = self.lock();
        let wanted = Wanted { key, then, interval: MIN_POLL, due: now };
        state.later(wanted, now);
        state.changes += 1;
        self.0.changed.notify_one();
    }

    pub(super) fn ask_again(&self, mut wanted: Wanted, now: Duration) {
        wanted.interval = (wanted.interval * 2).min(MAX_POLL);
        self.lock().later(wanted, now);
    }

    /// Returns the leases whose renewal is due.
    pub(super) fn due(&self, now: Duration) -> Vec<(CallKey, u64)> {
        self.lock().kept.iter().filter(|(_, kept)| kept.due <= now).map(|(lease, _)| *lease).collect()
    }

    /// Takes the leases whose acquisition is due.
    pub(super) fn wanted(&self, now: Duration) -> Vec<Wanted> {
        let mut state = self.lock();
        let (due, later) = mem::take(&mut state.wanted).into_iter().partition(|wanted| wanted.due <= now);
        state.wanted = later;
        due
    }

    /// Returns when the next renewal or acquisition is due, or `None` if none is scheduled.
    pub(super) fn next(&self) -> Option<Duration> {
        let state = self.lock();
        let renewals = state.kept.values().filter(|kept| !kept.lost).map(|kept| kept.due);
        renewals.chain(state.wanted.iter().map(|wanted| wanted.due)).min()
    }

    /// Starts a thread, unless it already runs, that calls `beat` whenever a renewal or acquisition is due. `beat` returns
    /// the time until its next call; `Some(None)` means that nothing is scheduled, and `None` that the leases are gone.
    pub(super) fn start(&self, beat: impl Fn() -> Option<Option<Duration>> + Send + 'static) {
        let mut state = self.lock();
        if state.beating {
            return;
        }
        let beats = self.0.clone();
        let started = thread_spawner::spawn("fleche-leases", move || beats.go_on(&beat));
        state.beating = started.is_ok();
        if let Err(error) = started {
            crate::runtime::log::error!(%error, "cannot start the thread that renews leases; calls may be computed twice");
        }
    }
}

impl State {
    /// Schedules the next attempt after about the interval, with jitter, so that processes that started together spread
    /// out.
    fn later(&mut self, wanted: Wanted, now: Duration) {
        let chance = self.jitter.hash_one((now, self.wanted.len())) % 512;
        #[allow(clippy::cast_possible_truncation)] // It is less than 512.
        let interval = wanted.interval * (768 + chance as u32) / 1024;
        self.wanted.push(Wanted { due: now + interval, ..wanted });
    }
}

impl RenewalThread {
    fn go_on(&self, beat: &impl Fn() -> Option<Option<Duration>>) {
        let _waits = WaiterThreadGuard::begin();
        loop {
            let before = self.lock().changes;
            // The callbacks that receive leases may run arbitrary code.
            let next = match contain(beat) {
                Ok(next) => next,
                Err(panic) => {
                    crate::runtime::log::error!("the callback of a lease {panic}");
                    continue;
                }
            };
            let Some(next) = next else { return };
            let changed = |state: &mut State| state.changes == before;
            let waited = self.changed.wait_timeout_while(self.lock(), next.unwrap_or(KEEP_ALIVE), changed);
            let (mut state, waited) = waited.ignore_poison();
            if next.is_none() && waited.timed_out() {
                state.beating = false;
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().ignore_poison()
    }
}
