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

type Outcome = Result<Payload, JobError>;

/// Sees the outcome before anybody else does, and hands it on.
type Witness = Box<dyn FnOnce(Outcome) -> Outcome + Send>;

enum State {
    Pending {
        started: bool,
        /// The outcome is there and with the witnesses; no other will be taken.
        finishing: bool,
        witnesses: Vec<Witness>,
        /// Whether a thread waits.
        blocked: bool,
        wakers: Vec<Waker>,
        callbacks: Vec<Callback>,
    },
    /// The outcome, until somebody takes it.
    Done(Option<Outcome>),
}

impl Default for State {
    fn default() -> Self {
        Self::Pending {
            started: false,
            finishing: false,
            blocked: false,
            witnesses: Vec::new(),
            wakers: Vec::new(),
            callbacks: Vec::new(),
        }
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
    pub(super) fn finish(&self, outcome: Outcome) {
        self.finish_if(outcome, |_| true);
    }

    pub(super) fn cancel(&self) -> bool {
        self.finish_if(Err(JobError::Cancelled), |started| !started)
    }

    fn finish_if(&self, mut outcome: Outcome, allowed: impl FnOnce(bool) -> bool) -> bool {
        let mut state = self.lock();
        let witnesses = match &mut *state {
            State::Pending { started, finishing, witnesses, .. } if !*finishing && allowed(*started) => {
                *finishing = true;
                std::mem::take(witnesses)
            }
            _ => return false,
        };
        // Outside the lock, as all that runs code of others.
        if !witnesses.is_empty() {
            drop(state);
            outcome = witnesses.into_iter().fold(outcome, |outcome, witness| witness(outcome));
            state = self.lock();
        }
        let before = std::mem::replace(&mut *state, State::Done(Some(outcome)));
        drop(state);
        if let State::Pending { blocked, wakers, callbacks, .. } = before {
            if blocked {
                self.done.notify_all();
            }
            let wakes = wakers.into_iter().map(|waker| Box::new(move || waker.wake()) as Callback);
            for callback in wakes.chain(callbacks) {
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
            State::Pending { started, finishing: false, .. } => {
                *started = true;
                true
            }
            State::Pending { .. } | State::Done(_) => false,
        }
    }

    /// Lets the witness see the outcome before anybody else: when it comes, or now if it is there. The witness must not
    /// panic.
    pub(super) fn witness(&self, witness: Witness) {
        if let State::Pending { finishing: false, witnesses, .. } = &mut *self.lock() {
            witnesses.push(witness);
            return;
        }
        // Where earlier witnesses have the outcome, they are done with it soon.
        self.wait();
        let outcome = witness(self.take());
        *self.lock() = State::Done(Some(outcome));
    }

    pub(super) fn take(&self) -> Outcome {
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
