//! `Task`: a call to be run by a worker.

use std::{fmt, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    PortableCall, Reply, Resources, SubmitError,
    in_flight::{CoalescedTasks, Flight},
    work::{Answered, CallWork, ClosureWork, FunctionWork, RemoteParts, Work},
};
use crate::{
    bound::{self, ArgsTuple, BoundCall, Callable},
    context::Binding,
    job::{
        self, Job, JobError, Promise,
        blocking_hooks::{JobId, QueueSlot, SlotCell},
    },
    runtime::{
        fork,
        panics::{Contained, contain},
    },
};

/// A call to be run by a worker, with the job that its result completes. Dropping a task that has not run fails the
/// job.
pub struct Task {
    work: Contained<Box<dyn Work>>,
    binding: Option<Binding>,
    /// The outcome of checking the bound cache for a hit; `None` if it was not checked.
    asked: Option<Answered>,
    /// The tasks of the same call that are completed with this one.
    followers: Option<Arc<CoalescedTasks>>,
}

impl Task {
    /// Creates a task that calls this function, and its job.
    pub(super) fn of_function<F, Args>(function: F, arguments: Args) -> (Self, Job<F::Output>)
    where
        F: Callable<Args>,
        Args: ArgsTuple,
        F::Output: Serialize + DeserializeOwned + Send + 'static,
    {
        let (promise, job) = job::promise(job::unpack_same, Some(bound::decode));
        let binding = function.binding().cloned();
        let work = Box::new(FunctionWork { function, arguments, key: None, promise: Some(promise) });
        (Self::of_work(work, binding), job)
    }

    /// Creates a task for this bound call, and its job.
    pub(super) fn of_call<R: 'static>(call: BoundCall<R>) -> (Self, Job<R>) {
        let (promise, job) =
            job::promise(call.parts.transport.unpack, call.parts.transport.wire.map(|(_, decode)| decode));
        let binding = Some(call.binding.clone());
        (Self::of_work(Box::new(CallWork { call, promise: Some(promise) }), binding), job)
    }

    /// Creates a task for a closure, which cannot leave this process, and its job.
    pub fn of_closure<R: Send + 'static>(run: impl FnOnce() -> R + Send + 'static) -> (Self, Job<R>) {
        let (promise, job) = job::promise(job::unpack_same, None);
        (Self::of_work(Box::new(ClosureWork { run, promise }), None), job)
    }

    fn of_work(work: Box<dyn Work>, binding: Option<Binding>) -> Self {
        Self { work: Contained::new(work), binding, asked: None, followers: None }
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
    /// Returns the task if it is not bound, if its function is not memoized, or if the call is not a hit.
    #[allow(clippy::result_large_err)] // The task would be moved anyway.
    pub fn answer(mut self) -> Result<(), Self> {
        match &self.binding {
            Some(binding) if self.asked.is_none() && !binding.is_rerun() => {
                // A panic while encoding or decoding is not a hit. When the call runs, the panic becomes the job's
                // error.
                let answered = job::catch(|| self.work.answer(binding)).unwrap_or(Answered::No);
                self.asked = Some(answered);
                if answered == Answered::Yes { Ok(()) } else { Err(self) }
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
            at_its_end(|| work.into_inner().run());
        }
        for follower in followers.map(|followers| followers.land()).unwrap_or_default() {
            follower.follow(&mut Self::run);
        }
    }

    /// Completes this task and its followers after the call has run elsewhere: from the cache if possible, else with
    /// `otherwise`.
    pub(super) fn follow(self, otherwise: &mut dyn FnMut(Self)) {
        let followers = self.followers.clone();
        match (Self { asked: None, ..self }).answer() {
            Ok(()) => {
                for follower in followers.map(|followers| followers.land()).unwrap_or_default() {
                    follower.follow(otherwise);
                }
            }
            Err(task) => otherwise(task),
        }
    }

    /// Returns the call and resources under which submissions can share a task, or `None` if this one cannot be shared.
    pub(super) fn flight(&self, asks: Option<&Resources>) -> Option<Flight> {
        // A task submitted within a body does not follow another: the wait graph does not show such a wait, which might
        // be for that very body. The task waits as a call of its own.
        let shares =
            |binding: &&Binding| !binding.is_rerun() && !binding.cache().is_void() && binding.flights().is_empty();
        // In a forked child, the table's lock may never be released.
        let binding = self.binding.as_ref().filter(shares).filter(|_| !fork::is_child())?;
        let (cache, key) = (Arc::as_ptr(binding.cache().calls()).cast::<()>() as usize, self.work.key()?);
        Some(Flight { cache, key, asks: asks.cloned() })
    }

    /// Makes this a leading task, and returns the list of its followers.
    pub(super) fn lead(&mut self) -> &Arc<CoalescedTasks> {
        self.followers.get_or_insert_with(CoalescedTasks::none)
    }

    /// Returns whether this task leads these followers.
    pub(super) fn leads(&self, followers: &Arc<CoalescedTasks>) -> bool {
        self.followers.as_ref().is_some_and(|own| Arc::ptr_eq(own, followers))
    }

    /// Splits the task into the call, for another process of this binary to run, and the reply, which completes the
    /// job.
    ///
    /// # Errors
    /// Returns the task with the reason if its function or result cannot leave the process, or if its arguments cannot
    /// be encoded.
    #[allow(clippy::result_large_err)] // The task would be moved anyway.
    pub fn into_remote(self) -> Result<(PortableCall, Reply), SubmitError> {
        let Self { work, binding, asked, followers } = self;
        let missed = if asked == Some(Answered::Missing) { work.key() } else { None };
        match work.into_inner().into_remote(binding.as_ref()) {
            Ok(RemoteParts { function, arguments, files, promise }) => {
                Ok((PortableCall { function, arguments, files, binding, missed }, Reply::new(promise, followers)))
            }
            Err((work, why)) => Err(Self { asked, followers, ..Self::of_work(work, binding) }.refuse(why)),
        }
    }

    /// Fails the job and those of its followers.
    pub fn fail(self, error: JobError) {
        for follower in self.followers.map(|followers| followers.land()).unwrap_or_default() {
            follower.fail(error.clone());
        }
        at_its_end(|| self.work.into_inner().fail(error));
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

    /// Has `tell` called whenever a job that the task completes is done, on the thread that ends it;
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

    /// Records where a pool keeps the task. The pool gets the place [back](crate::job::blocking_hooks::AwaitedJob::spot) when a thread
    /// waits for the job. Called under the pool's own lock.
    pub fn put(&self, spot: QueueSlot) {
        if let Some(promise) = self.work.promise() {
            promise.put(spot);
        }
        if let Some(followers) = &self.followers {
            followers.mark().set(spot);
        }
    }

    /// Has pools look up this task's job at the place of the leading task.
    pub(super) fn be_sought_by(&self, leader: &Arc<SlotCell>) {
        if let Some(promise) = self.work.promise() {
            promise.follow(leader.clone());
        }
    }

    /// Returns the function's name.
    pub fn name(&self) -> &str {
        self.work.name()
    }
}

/// Runs the final step of a task. The body's panics belong to the job; the `Drop` of the function or of its arguments
/// may still panic.
fn at_its_end(run: impl FnOnce()) {
    if let Err(panic) = contain(run) {
        crate::runtime::log::warn!("the `Drop` of a submitted function or of its arguments {panic}");
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("function", &self.name()).field("binding", &self.binding).finish_non_exhaustive()
    }
}
