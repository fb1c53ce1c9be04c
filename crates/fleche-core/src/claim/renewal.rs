//! The schedule of lease renewals and acquisitions, and the thread that follows it.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    mem,
    sync::{Arc, MutexGuard},
    time::{Duration, Instant},
};

use super::OnAcquired;
use crate::{
    call::CallKey,
    runtime::{
        background_threads::{BackgroundThreads, Locked, Next},
        panics::contain,
    },
};

/// The first and the longest interval between attempts to acquire a lease that another process holds.
const MIN_POLL: Duration = Duration::from_millis(10);
const MAX_POLL: Duration = Duration::from_millis(250);

pub(super) struct RenewalSchedule(Arc<BackgroundThreads<State>>);

#[derive(Default)]
struct State {
    kept: HashMap<(CallKey, u64), Kept>,
    wanted: Vec<Wanted>,
    /// The leases to release in the background.
    released: Vec<(CallKey, u64)>,
    /// Whether the next due time may have changed since the thread looked.
    has_changed: bool,
    /// When the thread looks next, or `None` if nothing is scheduled.
    next: Option<Instant>,
    /// Whether the leases are gone, so that the thread ends.
    is_abandoned: bool,
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
    fn lock(&self) -> MutexGuard<'_, Locked<State>> {
        self.0.lock()
    }

    pub(super) fn keep(&self, key: CallKey, grant: u64, now: Duration, ttl: Duration) {
        let mut state = self.lock();
        state.kept.insert((key, grant), Kept { renewed: now, due: now + ttl / 3, lost: false });
        state.has_changed = true;
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
        state.has_changed = true;
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
        state.has_changed = true;
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

    /// Lets a thread call `process_due` whenever a renewal or acquisition is due, and soon if the schedule has changed. `process_due` returns
    /// the time until its next call; `Some(None)` means that nothing is scheduled, and `None` that the leases are gone.
    pub(super) fn start(&self, process_due: impl Fn() -> Option<Option<Duration>> + Clone + Send + 'static) {
        let thread = self.0.clone();
        let step = move |state: &mut State| {
            let is_due = mem::take(&mut state.has_changed) || state.next.is_some_and(|at| at <= Instant::now());
            match state.next {
                _ if state.is_abandoned => Next::End,
                _ if is_due => {
                    let (thread, process_due) = (thread.clone(), process_due.clone());
                    Next::Work(move || run_due(&thread, process_due))
                }
                Some(at) => Next::WaitUntil(at),
                None => Next::Idle,
            }
        };
        let started = BackgroundThreads::wake(self.0.clone(), &mut self.lock(), step);
        if let Err(error) = started {
            crate::runtime::log::error!(%error, "cannot start the thread that renews leases; calls may be computed twice");
        }
    }
}

impl Default for RenewalSchedule {
    fn default() -> Self {
        Self(Arc::new(BackgroundThreads::one("fleche-leases", State::default())))
    }
}

fn run_due(thread: &BackgroundThreads<State>, process_due: impl Fn() -> Option<Option<Duration>>) {
    // The callbacks that receive leases may run arbitrary code.
    let next = contain(process_due);
    let mut state = thread.lock();
    match next {
        Ok(Some(next)) => state.next = next.and_then(|left| Instant::now().checked_add(left)),
        Ok(None) => state.is_abandoned = true,
        Err(panic) => {
            state.has_changed = true;
            drop(state);
            crate::runtime::log::error!("the callback of a lease {panic}");
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
