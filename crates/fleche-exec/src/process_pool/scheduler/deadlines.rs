//! The thread that ends tasks at their timeouts and checks at set times how many workers there should be.

use std::{
    collections::BTreeMap,
    sync::{Arc, MutexGuard, PoisonError},
    time::Instant,
};

use fleche_core::{JobError, spi::thread_spawner};

use super::{Ended, Scheduler, State};
use crate::process_pool::worker_handle::THREAD;

/// The deadlines of tasks, with the workers that run them.
#[derive(Default)]
pub(super) struct Deadlines {
    workers: BTreeMap<(Instant, u64), u64>,
    /// When the pool is to check again whether it has too few or too many workers.
    look: Option<Instant>,
    /// Whether the thread runs.
    watched: bool,
}

impl Deadlines {
    fn next(&self) -> Option<Instant> {
        let end = self.workers.first_key_value().map(|((deadline, _), _)| *deadline);
        end.into_iter().chain(self.look).min()
    }
}

impl Scheduler {
    /// Adds a deadline at which the task of this worker is ended.
    pub(super) fn watch(self: &Arc<Self>, state: &mut State, deadline: Instant, worker: u64, task: u64) {
        state.deadlines.workers.insert((deadline, task), worker);
        self.keep_watch(state);
    }

    /// Sets the time of the next check of the workers, in place of the earlier one.
    pub(super) fn look_again(self: &Arc<Self>, state: &mut State, at: Option<Instant>) {
        if state.deadlines.look != at {
            state.deadlines.look = at;
            match at {
                Some(_) => self.keep_watch(state),
                None => self.rest(state),
            }
        }
    }

    fn keep_watch(self: &Arc<Self>, state: &mut State) {
        self.due.notify_one();
        if !state.deadlines.watched {
            let schedule = self.clone();
            let started = thread_spawner::spawn(THREAD, move || schedule.run_timer());
            state.deadlines.watched = started.is_ok();
            if let Err(error) = started {
                fleche_core::spi::log::error!(%error, "cannot start the thread that enforces timeouts; tasks may run longer");
            }
        }
    }

    /// Removes the deadline of a task that has ended in time.
    pub(super) fn kept(&self, state: &mut State, deadline: Instant, task: u64) {
        state.deadlines.workers.remove(&(deadline, task));
        self.rest(state);
    }

    /// Removes the deadline of the task of a worker that is gone.
    pub(super) fn forget(&self, state: &mut State, worker: u64) {
        state.deadlines.workers.retain(|_, of| *of != worker);
        self.rest(state);
    }

    /// Wakes the thread to end if it has nothing left to do.
    fn rest(&self, state: &State) {
        if state.deadlines.watched && state.deadlines.next().is_none() {
            self.due.notify_one();
        }
    }

    /// Ends tasks that have timed out and checks the workers, until no deadline and no check is left.
    fn run_timer(self: &Arc<Self>) {
        let mut state = self.lock();
        while let Some(next) = state.deadlines.next() {
            let now = Instant::now();
            if next > now {
                state = self.due.wait_timeout(state, next - now).unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            if state.deadlines.look.take_if(|look| *look <= now).is_some() {
                self.dispatch(state, Ended::default());
            } else {
                self.time_out_first(state);
            }
            state = self.lock();
        }
        state.deadlines.watched = false;
    }

    /// Ends the task with the earliest deadline.
    fn time_out_first(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let mut ended = Ended::default();
        if let Some(((_, task), worker)) = state.deadlines.workers.pop_first()
            && let Some(hand) = state.hands.iter_mut().find(|hand| hand.id == worker)
        {
            ended.add(hand.time_out(task), &JobError::TimedOut);
        }
        drop(state);
        ended.tell(self);
    }
}
