//! Tasks that come back from workers, since their jobs are to be cancelled or others have more time for them.

use std::{
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use fleche_core::{
    JobError,
    job::Recall,
    waiting::{JobId, blocking},
};

use super::{Ended, Schedule, State};
use crate::processes::hand::Back;

/// A worker that says nothing for so long, because it was stopped, say, is not waited for: its task stays with it.
const PATIENCE: Duration = Duration::from_secs(10);

impl Schedule {
    /// Takes in what a worker has given back or left behind.
    pub(super) fn come_back(&self, state: &mut State, back: Back, ended: &mut Ended) {
        ended.add(back.cancelled, &JobError::Cancelled);
        back.rest.into_iter().rev().for_each(|task| state.waiting.push_front(task.anew()));
        state.recalled.extend(back.recalled.into_iter().map(crate::processes::waiting::Waiting::anew));
        // Also where it did not come back.
        self.recalled.notify_all();
    }

    /// Waits until the task of this job is out of everybody's way. Whether it is: not if it has started.
    fn await_recalled(&self, job: JobId) -> bool {
        let until = Instant::now() + PATIENCE;
        let mut state = self.lock();
        loop {
            match state.hands.iter_mut().find_map(|hand| hand.recall(job)) {
                None => return take_aside(&mut state, job),
                Some(false) => return false,
                Some(true) => {}
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.hands.iter_mut().for_each(|hand| hand.forget_recall(job));
                return false;
            }
            state = self.recalled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Recall for Schedule {
    fn recall(&self, job: JobId) -> bool {
        blocking(|| self.await_recalled(job))
    }

    fn cancelled(self: Arc<Self>, job: JobId) {
        let mut state = self.lock();
        if let Some(at) = state.recalled.iter().position(|task| task.reply.is_of(job)) {
            // Passed over when it is its turn, unless others wait for the call.
            let task = state.recalled.swap_remove(at);
            state.waiting.push_front(task);
        }
        self.dispatch(state, Ended::default());
        self.ended.notify_all();
    }
}

/// Whether the task of this job is recalled, or waits and is now.
fn take_aside(state: &mut State, job: JobId) -> bool {
    if state.recalled.iter().any(|task| task.reply.is_of(job)) {
        return true;
    }
    // What has come back for another reason is the first, most likely.
    let at = state.waiting.iter().position(|task| task.reply.is_of(job));
    let task = at.and_then(|at| state.waiting.remove(at));
    let found = task.is_some();
    state.recalled.extend(task);
    found
}
