//! `Task`: a call to be run by a worker.

use std::{
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard},
};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    Resources,
    work::{CacheCheck, CallWork, ClosureWork, FunctionWork, Work},
};
use crate::{
    bound::{self, ArgsTuple, BoundCall, Callable},
    call::CallKey,
    context::Binding,
    job::{
        self, Job, JobError, Promise,
        blocking_hooks::{JobId, QueueSlot, SlotCell},
    },
    runtime::{
        fork,
        lock::LockResultExt,
        panics::{Contained, contain},
    },
};

/// A call to be run by a worker, with the job that its result completes. Dropping a task that has not run fails the
/// job.
pub struct Task {
    pub(super) work: Contained<Box<dyn Work>>,
    pub(super) binding: Option<Binding>,
    /// The outcome of checking the bound cache for a hit; `None` if it was not checked.
    pub(super) cache_check: Option<CacheCheck>,
    /// The tasks of the same call that are completed with this one.
    pub(super) followers: Option<Arc<CoalescedTasks>>,
}

impl Task {
    /// Creates a task that calls this function, and its job.
    pub(super) fn from_function<F, Args>(function: F, arguments: Args) -> (Self, Job<F::Output>)
    where
        F: Callable<Args>,
        Args: ArgsTuple,
        F::Output: Serialize + DeserializeOwned + Send + 'static,
    {
        let (promise, job) = job::promise(job::unpack_same, Some(bound::decode));
        let binding = function.binding().cloned();
        let work = Box::new(FunctionWork { function, arguments, key: None, promise: Some(promise) });
        (Self::from_work(work, binding), job)
    }

    /// Creates a task for this bound call, and its job.
    pub(super) fn from_call<R: 'static>(call: BoundCall<R>) -> (Self, Job<R>) {
        let (promise, job) =
            job::promise(call.parts.transport.unpack, call.parts.transport.wire.map(|(_, decode)| decode));
        let binding = Some(call.binding.clone());
        (Self::from_work(Box::new(CallWork { call, promise: Some(promise) }), binding), job)
    }

    /// Creates a task for a closure, which cannot leave this process, and its job.
    pub fn from_closure<R: Send + 'static>(run: impl FnOnce() -> R + Send + 'static) -> (Self, Job<R>) {
        let (promise, job) = job::promise(job::unpack_same, None);
        (Self::from_work(Box::new(ClosureWork { run, promise }), None), job)
    }

    pub(super) fn from_work(work: Box<dyn Work>, binding: Option<Binding>) -> Self {
        Self { work: Contained::new(work), binding, cache_check: None, followers: None }
    }

    /// Binds the task, unless it is already bound.
    pub fn bind(&mut self, binding: impl FnOnce() -> Binding) {
        self.binding.get_or_insert_with(binding);
    }

    /// Returns the task's binding, or `None` if it is not bound.
    pub fn binding(&self) -> Option<&Binding> {
        self.binding.as_ref()
    }

    /// Completes the job from the bound cache if the call is a hit.
    ///
    /// # Errors
    /// Fails with the task if it is not bound, if its function is not memoized, or if the call is not a hit.
    #[allow(clippy::result_large_err)] // The task would be moved anyway.
    pub fn answer(mut self) -> Result<(), Self> {
        match &self.binding {
            Some(binding) if self.cache_check.is_none() && !binding.is_rerun() => {
                // A panic while encoding or decoding is not a hit. When the call runs, the panic becomes the job's
                // error.
                let answered = job::catch_panic(|| self.work.answer(binding)).unwrap_or(CacheCheck::Unknown);
                self.cache_check = Some(answered);
                if answered == CacheCheck::Hit { Ok(()) } else { Err(self) }
            }
            _ => Err(self),
        }
    }

    /// Runs the call on this thread with its binding active, and completes the job. A panic becomes the job's error. A
    /// cancelled task does nothing.
    ///
    /// Tasks of the same call that were submitted in the meantime are completed next: from the cache, or by running
    /// them.
    pub fn run(self) {
        let Self { work, binding, followers, .. } = self;
        {
            let _bound = binding.as_ref().map(Binding::enter);
            contain_drop_panic(|| work.into_inner().run());
        }
        for follower in followers.map(|followers| followers.close()).unwrap_or_default() {
            follower.follow(&mut Self::run);
        }
    }

    /// Completes this task and its followers after the call has run elsewhere: from the cache if possible, else with
    /// `otherwise`.
    pub(super) fn follow(self, otherwise: &mut dyn FnMut(Self)) {
        let followers = self.followers.clone();
        match (Self { cache_check: None, ..self }).answer() {
            Ok(()) => {
                for follower in followers.map(|followers| followers.close()).unwrap_or_default() {
                    follower.follow(otherwise);
                }
            }
            Err(task) => otherwise(task),
        }
    }

    /// Returns the call and resources under which submissions can share a task, or `None` if this one cannot be shared.
    pub(super) fn shared_task(&self, asks: Option<&Resources>) -> Option<SharedTask> {
        // A task submitted within a body does not follow another: the wait graph does not show such a wait, which might
        // be for that very body. The task waits as a call of its own.
        let shares = |binding: &&Binding| {
            !binding.is_rerun() && !binding.cache().is_void() && binding.in_flight_calls().is_empty()
        };
        // In a forked child, the table's lock may never be released.
        let binding = self.binding.as_ref().filter(shares).filter(|_| !fork::is_child())?;
        let (cache, key) = (Arc::as_ptr(binding.cache().calls()).cast::<()>() as usize, self.work.key()?);
        Some(SharedTask { cache, key, asks: asks.cloned() })
    }

    /// Makes this a leading task, and returns the list of its followers.
    pub(super) fn lead(&mut self) -> &Arc<CoalescedTasks> {
        self.followers.get_or_insert_with(CoalescedTasks::none)
    }

    /// Returns whether this task leads these followers.
    pub(super) fn leads(&self, followers: &Arc<CoalescedTasks>) -> bool {
        self.followers.as_ref().is_some_and(|own| Arc::ptr_eq(own, followers))
    }

    /// Fails the job and those of its followers.
    pub fn fail(self, error: JobError) {
        for follower in self.followers.map(|followers| followers.close()).unwrap_or_default() {
            follower.fail(error.clone());
        }
        contain_drop_panic(|| self.work.into_inner().fail(error));
    }

    /// Refuses the task for this reason. The submitter fails its job.
    pub fn refuse(self, why: impl Into<String>) -> SubmitError {
        SubmitError { task: self, why: JobError::rejected(why) }
    }

    /// Returns whether the job was cancelled, so that running the task does nothing.
    pub fn is_cancelled(&self) -> bool {
        self.work.promise().is_none_or(Promise::is_done)
            && self.followers.as_ref().is_none_or(|followers| followers.are_gone())
    }

    /// Registers `tell`, which is called whenever a job that the task completes is done, on the thread that ends it.
    /// [`is_cancelled`](Self::is_cancelled) may have changed then. Applies to jobs that are not done yet, including
    /// those of later followers.
    pub fn watch(&self, tell: &Arc<dyn Fn() + Send + Sync>) {
        if let Some(promise) = self.work.promise() {
            let tell = tell.clone();
            promise.on_done(move || tell());
        }
        if let Some(followers) = &self.followers {
            followers.watch(tell);
        }
    }

    /// Returns whether running the task completes this job.
    pub fn completes(&self, job: JobId) -> bool {
        self.work.promise().is_some_and(|promise| promise.is_of(job))
            || self.followers.as_ref().is_some_and(|followers| followers.complete(job))
    }

    /// Records where a pool keeps the task. The pool gets the place [back](crate::job::blocking_hooks::AwaitedJob::slot) when a thread
    /// waits for the job. Called under the pool's own lock.
    pub fn put(&self, slot: QueueSlot) {
        if let Some(promise) = self.work.promise() {
            promise.put(slot);
        }
        if let Some(followers) = &self.followers {
            followers.mark().set(slot);
        }
    }

    /// Makes pools find this task's job at the place of the leading task.
    pub(super) fn follow_slot(&self, leader: &Arc<SlotCell>) {
        if let Some(promise) = self.work.promise() {
            promise.follow(leader.clone());
        }
    }

    /// Returns the function's name.
    pub fn name(&self) -> &str {
        self.work.name()
    }
}

impl Resources {
    /// Returns the task if no other resources than those in `known` are set. For executors.
    ///
    /// # Errors
    /// Fails with the task and the names of the resources that `executor` does not support.
    pub fn known_to(&self, task: Task, executor: &str, known: &[&str]) -> Result<Task, SubmitError> {
        let unknown: Vec<_> =
            self.names().filter(|name| !known.contains(name)).map(|name| format!("`{name}`")).collect();
        if unknown.is_empty() {
            return Ok(task);
        }
        let known = if known.is_empty() { "no options".to_owned() } else { known.join(", ") };
        Err(task.refuse(format!(
            "{executor} does not support {}; it supports {known}. Omit that, or use an executor that supports it",
            unknown.join(", ")
        )))
    }
}

/// A task that was not accepted.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct SubmitError {
    /// The task.
    pub task: Task,
    /// The reason.
    pub why: JobError,
}

/// A call in one cache with the requested resources. Calls with different requests are not coalesced, since their
/// outcome may differ.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct SharedTask {
    /// The address of the cache's call store.
    pub(super) cache: usize,
    pub(super) key: CallKey,
    /// The requested resources, or `None` if none were requested.
    pub(super) asks: Option<Resources>,
}

/// The tasks that are completed together with a leading task of the same call.
#[derive(Default)]
pub(super) struct CoalescedTasks {
    state: Mutex<State>,
    /// The place where a pool keeps the leading task.
    mark: Arc<SlotCell>,
}

#[derive(Default)]
struct State {
    /// The followers. Those of an abandoned call stay here, so they are not dropped while a lock is held.
    tasks: Vec<Task>,
    /// Whether the call has ended or was abandoned, so that no task can join.
    closed: bool,
    /// The closure to call when the job of a follower is done.
    tell: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl CoalescedTasks {
    /// Creates an empty list.
    pub(super) fn none() -> Arc<Self> {
        Arc::default()
    }

    #[allow(clippy::result_large_err)] // The task would be moved anyway.
    pub(super) fn join(&self, task: Task) -> Result<(), Task> {
        let mut state = self.lock();
        if state.closed {
            return Err(task);
        }
        task.follow_slot(&self.mark);
        if let Some(tell) = &state.tell {
            task.watch(tell);
        }
        state.tasks.push(task);
        Ok(())
    }

    /// Closes the list because the call has ended, and returns the followers.
    pub(super) fn close(&self) -> Vec<Task> {
        let mut state = self.lock();
        state.closed = true;
        mem::take(&mut state.tasks)
    }

    /// Closes the list if it is empty. Returns whether it is empty.
    pub(super) fn close_if_empty(&self) -> bool {
        let mut state = self.lock();
        state.closed |= state.tasks.is_empty();
        state.tasks.is_empty()
    }

    /// Returns whether the list is closed or all followers are cancelled. In the second case, closes it. Called when
    /// the leading task's own job was cancelled.
    pub(super) fn are_gone(&self) -> bool {
        let mut state = self.lock();
        state.closed |= state.tasks.iter().all(Task::is_cancelled);
        state.closed
    }

    /// Returns whether one of the followers completes this job.
    pub(super) fn complete(&self, job: JobId) -> bool {
        self.lock().tasks.iter().any(|task| task.completes(job))
    }

    /// Registers `tell` with [`Task::watch`] for all followers, including later ones.
    pub(super) fn watch(&self, tell: &Arc<dyn Fn() + Send + Sync>) {
        let mut state = self.lock();
        state.tasks.iter().for_each(|task| task.watch(tell));
        state.tell = Some(tell.clone());
    }

    pub(super) fn mark(&self) -> &SlotCell {
        &self.mark
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().ignore_poison()
    }
}

impl fmt::Debug for CoalescedTasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Followers").finish_non_exhaustive()
    }
}

/// Runs the final step of a task. The body's panics belong to the job; the `Drop` of the function or of its arguments
/// may still panic.
fn contain_drop_panic(run: impl FnOnce()) {
    if let Err(panic) = contain(run) {
        crate::runtime::log::warn!("the `Drop` of a submitted function or of its arguments {panic}");
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("function", &self.name()).field("binding", &self.binding).finish_non_exhaustive()
    }
}
