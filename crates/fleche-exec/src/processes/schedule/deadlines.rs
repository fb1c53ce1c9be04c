//! When started tasks are to end, and the thread that sees to it.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
    time::Instant,
};

use fleche_core::{JobError, starter};

use super::{Ended, Schedule, State};
use crate::processes::hand::THREAD;

/// Deadlines of tasks, with the workers that run them.
#[derive(Default)]
pub(super) struct Deadlines {
    workers: BTreeMap<(Instant, u64), u64>,
    /// Whether a thread looks after them.
    watched: bool,
}

impl Deadlines {
    fn is_empty(&self) -> bool {
        self.workers.is_empty()
    }
}

impl Schedule {
    /// Ends the task when its time is over.
    pub(super) fn watch(self: &Arc<Self>, state: &mut State, deadline: Instant, worker: u64, task: u64) {
        state.deadlines.workers.insert((deadline, task), worker);
        self.due.notify_one();
        if !state.deadlines.watched {
            let schedule = self.clone();
            let started = starter::spawn(THREAD, move || schedule.keep_time());
            state.deadlines.watched = started.is_ok();
            if let Err(error) = started {
                fleche_core::log::error!(%error, "no thread to be had: a task may run longer than its timeout");
            }
        }
    }

    /// The task has ended in time.
    pub(super) fn kept(&self, state: &mut State, deadline: Instant, task: u64) {
        state.deadlines.workers.remove(&(deadline, task));
        self.rest(state);
    }

    /// The worker is gone, and its task with it.
    pub(super) fn forget(&self, state: &mut State, worker: u64) {
        state.deadlines.workers.retain(|_, of| *of != worker);
        self.rest(state);
    }

    /// Lets the thread end that has nothing to look after.
    fn rest(&self, state: &State) {
        if state.deadlines.watched && state.deadlines.is_empty() {
            self.due.notify_one();
        }
    }

    /// Ends tasks whose time is over, until there are no deadlines.
    fn keep_time(self: &Arc<Self>) {
        let mut state = self.lock();
        while let Some((&(deadline, task), &worker)) = state.deadlines.workers.first_key_value() {
            let now = Instant::now();
            if deadline > now {
                state = self.due.wait_timeout(state, deadline - now).unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            state.deadlines.workers.pop_first();
            let mut ended = Ended::default();
            if let Some(hand) = state.hands.iter_mut().find(|hand| hand.id == worker) {
                ended.add(hand.time_out(task), &JobError::TimedOut);
            }
            drop(state);
            ended.tell(self);
            state = self.lock();
        }
        state.deadlines.watched = false;
    }
}
