//! The state that a job and its completer share, and its waiters.

use std::{
    any::Any,
    sync::{Arc, Condvar, Mutex, MutexGuard, Weak},
    task::Waker,
    time::Duration,
};

use super::blocking_hooks::{self, Awaited, AwaitedJob, JobId, TaskSlot};
use super::{JobError, catch_panic};
use crate::runtime::{fork::ProcessLocal, lock::LockResultExt, panics::discard};

/// The type-erased result of a call, as it is passed between threads.
pub(crate) type Payload = Box<dyn Any + Send>;

/// The owner of calls that have not started: an executor, which is notified when their jobs are cancelled.
pub trait CancelHook: Send + Sync {
    /// Revokes the call of this job, which has been dispatched, so that it does not start. Returns whether it was
    /// revoked: then it is held until [`cancelled`](Self::cancelled) is called. May block, but only for a short time.
    fn revoke(&self, job: JobId) -> bool;

    /// Called when the job was cancelled. The call then runs only if other jobs wait for it; tasks that are queued behind
    /// it may start. Not called for jobs whose calls have started.
    fn cancelled(self: Arc<Self>, job: JobId);
}

#[derive(Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    process: ProcessLocal<()>,
    done: Condvar,
    /// The place where a pool holds the task.
    pub(super) marked: TaskSlot,
}

pub(super) type Callback = Box<dyn FnOnce() + Send>;

type Outcome = Result<Payload, JobError>;

/// A callback that sees the outcome before any waiter does, and passes it on.
type OutcomeObserver = Box<dyn FnOnce(Outcome) -> Outcome + Send>;

/// The progress of a call that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    /// The task is dispatched but has not started, so it can be revoked.
    Dispatched,
    Started,
}

enum State {
    Pending {
        stage: Stage,
        /// The owner that is notified when the job is cancelled.
        holder: Option<Weak<dyn CancelHook>>,
        /// Whether an outcome has arrived and is with the observers; another is not accepted.
        finishing: bool,
        observers: Vec<OutcomeObserver>,
        /// Whether a thread is blocked on this job.
        blocked: bool,
        wakers: Vec<Waker>,
        callbacks: Vec<Callback>,
    },
    /// The outcome, until it is taken.
    Done(Option<Outcome>),
}

impl Default for State {
    fn default() -> Self {
        Self::Pending {
            stage: Stage::Waiting,
            holder: None,
            finishing: false,
            blocked: false,
            observers: Vec::new(),
            wakers: Vec::new(),
            callbacks: Vec::new(),
        }
    }
}

impl State {
    /// Returns whether a thread has to wait, and records that there is a waiter: a notification without waiters would still be a
    /// system call.
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
    /// Returns whether this is a forked child and the job is its parent's. Such a job is never completed here, and its
    /// lock may be held forever.
    fn is_inherited(&self) -> bool {
        ProcessLocal::is_inherited(&self.process)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().ignore_poison()
    }

    pub(super) fn is_done(&self) -> bool {
        if self.is_inherited() {
            return self.state.try_lock().is_ok_and(|state| matches!(*state, State::Done(_)));
        }
        matches!(*self.lock(), State::Done(_))
    }

    /// Returns the id by which waiters refer to this job. Another job may have the same id once this one is dropped.
    pub(super) fn id(&self) -> JobId {
        JobId(std::ptr::from_ref(self).addr())
    }

    /// Returns the description of this job for a pool.
    fn sought(&self) -> AwaitedJob<'_> {
        AwaitedJob { job: self.id(), mark: self.marked.mark() }
    }

    /// Returns whether the body has not started.
    fn is_waiting(&self) -> bool {
        matches!(*self.lock(), State::Pending { stage, finishing: false, .. } if stage != Stage::Started)
    }

    /// Waits for the outcome. On a thread of a pool, the pool may run tasks in the meantime.
    pub(super) fn wait(self: &Arc<Self>) {
        if blocking_hooks::is_within() && !self.is_inherited() {
            self.run_or_prioritize();
            if !self.is_done() {
                blocking_hooks::blocking_for(Some(self.clone()), || self.wait_at_work());
            }
        } else {
            self.wait_at_work();
        }
    }

    /// Starts the body, on this thread if necessary: this thread cannot proceed before the body has ended.
    pub(super) fn run_or_prioritize(&self) {
        if self.is_waiting() {
            blocking_hooks::run_or_prioritize(self.sought());
        }
    }

    /// Makes the pool start the body before others, on another thread.
    pub(super) fn prioritize(&self) {
        if self.is_waiting() {
            blocking_hooks::prioritize(self.sought());
        }
    }

    /// Like [`wait`](Self::wait), but never tells the pool that this thread is blocked.
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
        if blocking_hooks::is_within() {
            self.prioritize();
        }
        blocking_hooks::blocking(|| {
            let waited = self.done.wait_timeout_while(self.lock(), timeout, State::blocks);
            !waited.ignore_poison().1.timed_out()
        })
    }

    /// Ends the job. An outcome that arrives after another is dropped.
    pub(super) fn finish(&self, outcome: Outcome) {
        if let Err(unwanted) = self.finish_if(outcome, |_, _| true) {
            discard(unwanted);
        }
    }

    /// Like [`finish`](Self::finish), but only if this runs nothing except wakers. Otherwise returns the outcome.
    pub(super) fn try_finish_inline(&self, outcome: Outcome) -> Result<(), Outcome> {
        self.finish_if(outcome, |_, is_heard| !is_heard)
    }

    pub(super) fn cancel(&self) -> bool {
        loop {
            let (stage, holder) = match &*self.lock() {
                State::Pending { stage, finishing: false, holder, .. } => (*stage, holder.clone()),
                _ => return false,
            };
            let holder = holder.and_then(|holder| holder.upgrade());
            let revoked = stage == Stage::Waiting
                || stage == Stage::Dispatched && holder.as_ref().is_some_and(|holder| holder.revoke(self.id()));
            if !revoked {
                return false;
            }
            // A queued call may have been dispatched by now; a revoked one stays where it is.
            let cancelled = self.finish_if(Err(JobError::Cancelled), |now, _| now == stage).is_ok();
            if let Some(holder) = holder.filter(|_| cancelled || stage == Stage::Dispatched) {
                holder.cancelled(self.id());
            }
            if cancelled {
                return true;
            }
        }
    }

    /// Sets the owner that is notified when the job is cancelled.
    pub(super) fn on_cancel(&self, by: Weak<dyn CancelHook>) {
        if let State::Pending { holder, .. } = &mut *self.lock() {
            *holder = Some(by);
        }
    }

    /// Ends the job if `allowed` agrees, given the stage and whether observers or callbacks will run. Otherwise returns
    /// the outcome.
    fn finish_if(&self, mut outcome: Outcome, allowed: impl FnOnce(Stage, bool) -> bool) -> Result<(), Outcome> {
        let mut state = self.lock();
        let observers = match &mut *state {
            State::Pending { stage, finishing, observers, callbacks, .. }
                if !*finishing && allowed(*stage, !(observers.is_empty() && callbacks.is_empty())) =>
            {
                *finishing = true;
                std::mem::take(observers)
            }
            _ => return Err(outcome),
        };
        // Witnesses run outside the lock, because they are code of callers.
        if !observers.is_empty() {
            drop(state);
            outcome = observers.into_iter().fold(outcome, |outcome, observe| observe(outcome));
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
                // A panic must not prevent other callbacks from running, nor end the worker's thread.
                if let Err(panic) = catch_panic(callback) {
                    crate::runtime::log::error!(%panic, "a callback that ran when a job was done panicked");
                }
            }
        }
        Ok(())
    }

    /// Marks the body as started. Returns `false` if the job has ended, for example by cancellation; then the body must
    /// not run.
    pub(super) fn start(&self) -> bool {
        self.comes_to(Stage::Started)
    }

    /// Like [`start`](Self::start), for a body that is dispatched and may be revoked until it has started.
    pub(super) fn mark_dispatched(&self) -> bool {
        self.comes_to(Stage::Dispatched)
    }

    fn comes_to(&self, next: Stage) -> bool {
        match &mut *self.lock() {
            State::Pending { stage, finishing: false, .. } => {
                // A call that has started once and is started again cannot be revoked.
                if *stage != Stage::Started {
                    *stage = next;
                }
                true
            }
            State::Pending { .. } | State::Done(_) => false,
        }
    }

    /// Passes the outcome to the observer before any waiter sees it: when it arrives, or at once if it has arrived. The
    /// observer must not panic.
    pub(super) fn observe(&self, observe: OutcomeObserver) {
        if let State::Pending { finishing: false, observers, .. } = &mut *self.lock() {
            observers.push(observe);
            return;
        }
        // Earlier observers may still have the outcome, but only for a short time.
        self.wait_at_work();
        let outcome = observe(self.take());
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
                outcome.take().unwrap_or_else(|| Err(JobError::rejected("the result has already been taken")))
            }
            State::Pending { .. } => Err(JobError::rejected("the result is not available yet")),
        }
    }

    /// Returns whether the job has ended. Otherwise stores the waker.
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

    /// Returns the callback if the job has already ended.
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
    /// Drops an outcome that was never taken. This happens on the thread with the last handle, which must not panic.
    fn drop(&mut self) {
        if let State::Done(Some(outcome)) = self.state.get_mut().ignore_poison() {
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
