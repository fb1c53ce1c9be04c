//! What a job and its completer share: the state, and who waits for it.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::Duration,
};

use super::{JobError, Payload, catch};

#[derive(Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    done: Condvar,
}

type Callback = Box<dyn FnOnce() + Send>;

enum State {
    Pending {
        started: bool,
        /// Whether a thread waits.
        blocked: bool,
        wakers: Vec<Waker>,
        callbacks: Vec<Callback>,
    },
    /// The outcome, until somebody takes it.
    Done(Option<Result<Payload, JobError>>),
}

impl Default for State {
    fn default() -> Self {
        Self::Pending { started: false, blocked: false, wakers: Vec::new(), callbacks: Vec::new() }
    }
}

impl State {
    /// Whether a thread has to wait; takes note that one does, since waking nobody would still be a system call.
    fn blocks(&mut self) -> bool {
        match self {
            Self::Pending { blocked, .. } => {
                *blocked = true;
                true
            }
            Self::Done(_) => false,
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(*self.lock(), State::Done(_))
    }

    pub(super) fn wait(&self) {
        drop(self.done.wait_while(self.lock(), State::blocks));
    }

    pub(super) fn wait_timeout(&self, timeout: Duration) -> bool {
        let waited = self.done.wait_timeout_while(self.lock(), timeout, State::blocks);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Ends the job; an outcome that comes later than another is dropped.
    pub(super) fn finish(&self, outcome: Result<Payload, JobError>) {
        self.finish_if(outcome, |_| true);
    }

    pub(super) fn cancel(&self) -> bool {
        self.finish_if(Err(JobError::Cancelled), |started| !started)
    }

    fn finish_if(&self, outcome: Result<Payload, JobError>, allowed: impl FnOnce(bool) -> bool) -> bool {
        let mut state = self.lock();
        match &*state {
            State::Pending { started, .. } if allowed(*started) => {}
            _ => return false,
        }
        let before = std::mem::replace(&mut *state, State::Done(Some(outcome)));
        drop(state);
        // Outside the lock: wakers and callbacks run code of others.
        if let State::Pending { blocked, wakers, callbacks, .. } = before {
            if blocked {
                self.done.notify_all();
            }
            wakers.into_iter().for_each(Waker::wake);
            for callback in callbacks {
                // One that panics must not cost the others their turn, nor the worker its thread.
                if let Err(panic) = catch(callback) {
                    tracing::error!(%panic, "what was to run when a job is done panicked");
                }
            }
        }
        true
    }

    /// Whether the body may run: not if the job is done, that is, cancelled.
    pub(super) fn start(&self) -> bool {
        match &mut *self.lock() {
            State::Pending { started, .. } => {
                *started = true;
                true
            }
            State::Done(_) => false,
        }
    }

    pub(super) fn take(&self) -> Result<Payload, JobError> {
        match &mut *self.lock() {
            State::Done(outcome) => {
                outcome.take().unwrap_or_else(|| Err(JobError::rejected("the result was taken already")))
            }
            State::Pending { .. } => Err(JobError::rejected("the result is not there yet")),
        }
    }

    /// Whether the outcome is there; else the waker is kept.
    pub(super) fn poll(&self, waker: &Waker) -> bool {
        match &mut *self.lock() {
            State::Done(_) => true,
            State::Pending { wakers, .. } => {
                if !wakers.iter().any(|kept| kept.will_wake(waker)) {
                    wakers.push(waker.clone());
                }
                false
            }
        }
    }

    pub(super) fn on_done(&self, callback: Callback) {
        if let State::Pending { callbacks, .. } = &mut *self.lock() {
            callbacks.push(callback);
            return;
        }
        callback();
    }
}
