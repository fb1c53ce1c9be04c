//! What a job and its completer share: the state, and who waits for it.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    task::Waker,
    time::Duration,
};

use super::{JobError, Payload, Recall, catch};
use crate::{
    fork::ProcessLocal,
    panics::discard,
    waiting::{self, Awaited, JobId, Marked, Sought},
};

#[derive(Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    process: ProcessLocal<()>,
    done: Condvar,
    /// Where a pool keeps its task.
    pub(super) marked: Marked,
}

pub(super) type Callback = Box<dyn FnOnce() + Send>;

type Outcome = Result<Payload, JobError>;

/// Sees the outcome before anybody else does, and hands it on.
type Witness = Box<dyn FnOnce(Outcome) -> Outcome + Send>;

/// How far a call has come that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    /// On its way to where it starts, from where it can be recalled.
    Given,
    Started,
}

enum State {
    Pending {
        stage: Stage,
        /// Who hears of it when the job is cancelled.
        holder: Option<Weak<dyn Recall>>,
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
            stage: Stage::Waiting,
            holder: None,
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
    /// Returns whether this is a forked child and the job is its parent's. Such a job is never completed here, and its lock may
    /// be held forever.
    fn is_inherited(&self) -> bool {
        ProcessLocal::is_inherited(&self.process)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_done(&self) -> bool {
        if self.is_inherited() {
            return self.state.try_lock().is_ok_and(|state| matches!(*state, State::Done(_)));
        }
        matches!(*self.lock(), State::Done(_))
    }

    /// What this job is called by what waits for it. Another may have its name once it is gone.
    pub(super) fn id(&self) -> JobId {
        JobId(std::ptr::from_ref(self).addr())
    }

    /// As a pool is told of it.
    fn sought(&self) -> Sought<'_> {
        Sought { job: self.id(), mark: self.marked.mark() }
    }

    /// Whether its body waits for its turn.
    fn is_waiting(&self) -> bool {
        matches!(*self.lock(), State::Pending { stage, finishing: false, .. } if stage != Stage::Started)
    }

    /// Waits, and lets the pool of this thread, if it is one of a pool, do something about it.
    pub(super) fn wait(self: &Arc<Self>) {
        if waiting::is_within() && !self.is_inherited() {
            self.hasten();
            if !self.is_done() {
                waiting::blocking_for(Some(self.clone()), || self.wait_at_work());
            }
        } else {
            self.wait_at_work();
        }
    }

    /// Has its body started, on this thread if need be: nothing here may go on before it has ended.
    pub(super) fn hasten(&self) {
        if self.is_waiting() {
            waiting::hasten(self.sought());
        }
    }

    /// Has its body started before others, on another thread.
    pub(super) fn prefer(&self) {
        if self.is_waiting() {
            waiting::prefer(self.sought());
        }
    }

    /// As [`wait`](Self::wait), where the wait is the thread's work.
    pub(super) fn wait_at_work(&self) {
        if self.is_inherited() {
            return;
        }
        drop(self.done.wait_while(self.lock(), State::blocks));
    }

    pub(super) fn wait_timeout(&self, timeout: Duration) -> bool {
        if self.is_done() || self.is_inherited() {
            return self.is_done();
        }
        if waiting::is_within() {
            self.prefer();
        }
        waiting::blocking(|| {
            let waited = self.done.wait_timeout_while(self.lock(), timeout, State::blocks);
            !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
        })
    }

    /// Ends the job; an outcome that comes later than another is dropped.
    pub(super) fn finish(&self, outcome: Outcome) {
        if let Err(unwanted) = self.finish_if(outcome, |_, _| true) {
            discard(unwanted);
        }
    }

    /// As [`finish`](Self::finish), where that runs nothing but wakers. Else gives the outcome back.
    pub(super) fn finish_unheard(&self, outcome: Outcome) -> Result<(), Outcome> {
        self.finish_if(outcome, |_, is_heard| !is_heard)
    }

    pub(super) fn cancel(&self) -> bool {
        loop {
            let (stage, holder) = match &*self.lock() {
                State::Pending { stage, finishing: false, holder, .. } => (*stage, holder.clone()),
                _ => return false,
            };
            let holder = holder.and_then(|holder| holder.upgrade());
            let recalled = stage == Stage::Waiting
                || stage == Stage::Given && holder.as_ref().is_some_and(|holder| holder.recall(self.id()));
            if !recalled {
                return false;
            }
            // One that waited may be on its way by now; one that was recalled stays where it is.
            let cancelled = self.finish_if(Err(JobError::Cancelled), |now, _| now == stage).is_ok();
            if let Some(holder) = holder.filter(|_| cancelled || stage == Stage::Given) {
                holder.cancelled(self.id());
            }
            if cancelled {
                return true;
            }
        }
    }

    /// Who hears of it when the job is cancelled.
    pub(super) fn held_by(&self, by: Weak<dyn Recall>) {
        if let State::Pending { holder, .. } = &mut *self.lock() {
            *holder = Some(by);
        }
    }

    /// Ends the job, if that is allowed so far, where somebody hears of it or not. Else gives the outcome back.
    fn finish_if(&self, mut outcome: Outcome, allowed: impl FnOnce(Stage, bool) -> bool) -> Result<(), Outcome> {
        let mut state = self.lock();
        let witnesses = match &mut *state {
            State::Pending { stage, finishing, witnesses, callbacks, .. }
                if !*finishing && allowed(*stage, !(witnesses.is_empty() && callbacks.is_empty())) =>
            {
                *finishing = true;
                std::mem::take(witnesses)
            }
            _ => return Err(outcome),
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
                    crate::log::error!(%panic, "what was to run when a job is done panicked");
                }
            }
        }
        Ok(())
    }

    /// Whether the body may run: not if the job is done, that is, cancelled.
    pub(super) fn start(&self) -> bool {
        self.comes_to(Stage::Started)
    }

    /// As [`start`](Self::start), for a body that starts elsewhere, and may be recalled until it has.
    pub(super) fn give(&self) -> bool {
        self.comes_to(Stage::Given)
    }

    fn comes_to(&self, next: Stage) -> bool {
        match &mut *self.lock() {
            State::Pending { stage, finishing: false, .. } => {
                // What has started once, and starts anew, is never recalled.
                if *stage != Stage::Started {
                    *stage = next;
                }
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
        self.wait_at_work();
        let outcome = witness(self.take());
        *self.lock() = State::Done(Some(outcome));
    }

    pub(super) fn take(&self) -> Outcome {
        if self.is_inherited() && !self.is_done() {
            return Err(JobError::rejected(
                "this process was forked after the call was submitted; its parent gets the result",
            ));
        }
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
        if let Err(callback) = self.on_done_to_come(callback) {
            callback();
        }
    }

    /// Gives the callback back where the outcome is there.
    pub(super) fn on_done_to_come(&self, callback: Callback) -> Result<(), Callback> {
        match &mut *self.lock() {
            State::Pending { callbacks, .. } => {
                callbacks.push(callback);
                Ok(())
            }
            State::Done(_) => Err(callback),
        }
    }
}

impl Drop for Shared {
    /// Drops an outcome that was never taken. That happens on the thread with the last handle, which must not panic for it.
    fn drop(&mut self) {
        if let State::Done(Some(outcome)) = self.state.get_mut().unwrap_or_else(PoisonError::into_inner) {
            discard(std::mem::replace(outcome, Err(JobError::Cancelled)));
        }
    }
}

impl Awaited for Shared {
    fn is_over(&self) -> bool {
        self.is_done()
    }

    fn is_of(&self, pool: usize) -> bool {
        self.marked.mark().pool() == Some(pool)
    }
}
