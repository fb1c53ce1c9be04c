//! Revocation: tasks that come back from workers, because their jobs are cancelled or other workers are free.

use std::{
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use fleche_core::{
    JobError,
    job::{
        CancelHook,
        blocking_hooks::{JobId, blocking},
    },
};

use super::{Ended, Scheduler, State};
use crate::process_pool::worker_handle::ReturnedTasks;

/// The time limit for a revoked task to come back. A worker that does not answer, for example a stopped one, keeps its
/// task.
const REVOKE_TIMEOUT: Duration = Duration::from_secs(10);

impl Scheduler {
    /// Queues or ends the tasks that a worker has returned or left behind.
    pub(super) fn requeue_returned(&self, state: &mut State, back: ReturnedTasks, ended: &mut Ended) {
        ended.add(back.cancelled, &JobError::Cancelled);
        back.rest.into_iter().rev().for_each(|task| state.waiting.push_front(task.anew()));
        state.recalled.extend(back.recalled.into_iter().map(crate::process_pool::queued_task::Waiting::anew));
        // Even if the task that a thread waits for is not among them.
        self.recalled.notify_all();
    }

    /// Waits until the task of this job can no longer start. Returns `false` if it has started, or if its worker does
    /// not answer.
    fn await_revocation(&self, job: JobId) -> bool {
        let until = Instant::now() + REVOKE_TIMEOUT;
        let mut state = self.lock();
        loop {
            match state.hands.iter_mut().find_map(|hand| hand.recall(job)) {
                None => return take_revoked(&mut state, job),
                Some(false) => return false,
                Some(true) => {}
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.hands.iter_mut().for_each(|hand| hand.abandon_revocation(job));
                return false;
            }
            state = self.recalled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl CancelHook for Scheduler {
    fn recall(&self, job: JobId) -> bool {
        blocking(|| self.await_revocation(job))
    }

    fn cancelled(self: Arc<Self>, job: JobId) {
        let mut state = self.lock();
        if let Some(at) = state.recalled.iter().position(|task| task.reply.is_of(job)) {
            // The task is skipped when it is first in the queue, unless other jobs wait for the call.
            let task = state.recalled.swap_remove(at);
            state.waiting.push_front(task);
        }
        self.dispatch(state, Ended::default());
        self.ended.notify_all();
    }
}

/// Returns whether the task of this job is revoked. Revokes it if it is queued.
fn take_revoked(state: &mut State, job: JobId) -> bool {
    if state.recalled.iter().any(|task| task.reply.is_of(job)) {
        return true;
    }
    // A task that has come back for another reason is most likely the first in the queue.
    let at = state.waiting.iter().position(|task| task.reply.is_of(job));
    let task = at.and_then(|at| state.waiting.remove(at));
    let found = task.is_some();
    state.recalled.extend(task);
    found
}
