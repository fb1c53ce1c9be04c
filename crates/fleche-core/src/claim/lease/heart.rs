//! What is to be renewed and asked for, and when; and the thread that sees to it.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    call::CallKey,
    claim::{Then, WaitsHere},
    panics::contain,
    starter,
};

/// How often a lease is asked for that somebody else has: at first, and at last.
const OFTEN: Duration = Duration::from_millis(10);
const SELDOM: Duration = Duration::from_millis(250);
/// The thread ends when there was nothing to do for so long.
const KEPT: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(super) struct Heart(Arc<Beats>);

#[derive(Default)]
struct Beats {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    kept: HashMap<(CallKey, u64), Kept>,
    wanted: Vec<Wanted>,
    /// Leases to be released.
    released: Vec<(CallKey, u64)>,
    /// How often something came to be due at another time.
    changes: u64,
    /// Whether a thread lets it beat.
    beating: bool,
    jitter: RandomState,
}

/// A lease to be renewed.
struct Kept {
    renewed: Duration,
    due: Duration,
    lost: bool,
}

/// A lease to be asked for.
pub(super) struct Wanted {
    pub(super) key: CallKey,
    pub(super) then: Then,
    interval: Duration,
    due: Duration,
}

impl Heart {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }

    pub(super) fn keep(&self, key: CallKey, grant: u64, now: Duration, lasts: Duration) {
        let mut state = self.lock();
        state.kept.insert((key, grant), Kept { renewed: now, due: now + lasts / 3, lost: false });
        state.changes += 1;
        self.0.changed.notify_one();
    }

    pub(super) fn forget(&self, key: &CallKey, grant: u64) {
        self.lock().kept.remove(&(*key, grant));
    }

    pub(super) fn renewed(&self, key: &CallKey, grant: u64, now: Duration, lasts: Duration) {
        if let Some(kept) = self.lock().kept.get_mut(&(*key, grant)) {
            (kept.renewed, kept.due) = (now, now + lasts / 3);
        }
    }

    /// Those that are due could not be renewed, and are to be soon.
    pub(super) fn postpone_renewals(&self, now: Duration, lasts: Duration) {
        for kept in self.lock().kept.values_mut().filter(|kept| kept.due <= now) {
            kept.due = now + lasts / 10;
        }
    }

    /// Has this one released at the next opportunity.
    pub(super) fn release(&self, key: CallKey, grant: u64) {
        let mut state = self.lock();
        state.released.push((key, grant));
        state.changes += 1;
        self.0.changed.notify_one();
    }

    /// What is to be released.
    pub(super) fn released(&self) -> Vec<(CallKey, u64)> {
        mem::take(&mut self.lock().released)
    }

    /// Somebody else has it.
    pub(super) fn lost(&self, key: &CallKey, grant: u64) {
        if let Some(kept) = self.lock().kept.get_mut(&(*key, grant)) {
            (kept.lost, kept.due) = (true, Duration::MAX);
        }
    }

    /// Whether somebody else has it, or may have.
    pub(super) fn is_late(&self, key: &CallKey, grant: u64, now: Duration, lasts: Duration) -> bool {
        self.lock().kept.get(&(*key, grant)).is_none_or(|kept| kept.lost || now.saturating_sub(kept.renewed) >= lasts)
    }

    pub(super) fn want(&self, key: CallKey, then: Then, now: Duration) {
        let mut state = self.lock();
        let wanted = Wanted { key, then, interval: OFTEN, due: now };
        state.later(wanted, now);
        state.changes += 1;
        self.0.changed.notify_one();
    }

    pub(super) fn ask_again(&self, mut wanted: Wanted, now: Duration) {
        wanted.interval = (wanted.interval * 2).min(SELDOM);
        self.lock().later(wanted, now);
    }

    /// What is to be renewed by now.
    pub(super) fn due(&self, now: Duration) -> Vec<(CallKey, u64)> {
        self.lock().kept.iter().filter(|(_, kept)| kept.due <= now).map(|(lease, _)| *lease).collect()
    }

    /// What is to be asked for by now.
    pub(super) fn wanted(&self, now: Duration) -> Vec<Wanted> {
        let mut state = self.lock();
        let (due, later) = mem::take(&mut state.wanted).into_iter().partition(|wanted| wanted.due <= now);
        state.wanted = later;
        due
    }

    /// When something is due next.
    pub(super) fn next(&self) -> Option<Duration> {
        let state = self.lock();
        let renewals = state.kept.values().filter(|kept| !kept.lost).map(|kept| kept.due);
        renewals.chain(state.wanted.iter().map(|wanted| wanted.due)).min()
    }

    /// Has a thread call `beat` whenever something is due: it says how long that takes, and `None` once nobody is left.
    pub(super) fn start(&self, beat: impl Fn() -> Option<Option<Duration>> + Send + 'static) {
        let mut state = self.lock();
        if state.beating {
            return;
        }
        let beats = self.0.clone();
        let started = starter::spawn("fleche-leases", move || beats.go_on(&beat));
        state.beating = started.is_ok();
        if let Err(error) = started {
            crate::log::error!(%error, "no thread renews leases: calls may be computed twice");
        }
    }
}

impl State {
    /// Asks for it after about its interval: those that ask at once do not go on doing so.
    fn later(&mut self, wanted: Wanted, now: Duration) {
        let chance = self.jitter.hash_one((now, self.wanted.len())) % 512;
        #[allow(clippy::cast_possible_truncation)] // It is less than 512.
        let interval = wanted.interval * (768 + chance as u32) / 1024;
        self.wanted.push(Wanted { due: now + interval, ..wanted });
    }
}

impl Beats {
    fn go_on(&self, beat: &impl Fn() -> Option<Option<Duration>>) {
        let _waits = WaitsHere::begin();
        loop {
            let before = self.lock().changes;
            // What is called when a lease is there may be anything.
            let next = match contain(beat) {
                Ok(next) => next,
                Err(panic) => {
                    crate::log::error!("what waited for a lease {panic}");
                    continue;
                }
            };
            let Some(next) = next else { return };
            let changed = |state: &mut State| state.changes == before;
            let waited = self.changed.wait_timeout_while(self.lock(), next.unwrap_or(KEPT), changed);
            let (mut state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
            if next.is_none() && waited.timed_out() {
                state.beating = false;
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
