//! `Task`: a call on its way to a worker.

use std::{fmt, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    PortableCall, Reply, Resources, SubmitError,
    in_flight::{Flight, Followers},
    work::{Apart, CallWork, ClosureWork, FunctionWork, Work},
};
use crate::{
    bound::{self, BoundCall, Callable, TupleArguments},
    context::Binding,
    fork,
    job::{self, Job, JobError, Promise},
    panics::{Contained, contain},
    waiting::{JobId, Mark, Spot},
};

/// A call on its way to a worker, with the job that its result completes. Dropped without having run, it fails the job.
pub struct Task {
    work: Contained<Box<dyn Work>>,
    binding: Option<Binding>,
    /// Whether the bound cache was asked already.
    asked: bool,
    /// Tasks of the same call, which end with this one.
    followers: Option<Arc<Followers>>,
}

impl Task {
    /// A call of this function.
    pub(super) fn of_function<F, Args>(function: F, arguments: Args) -> (Self, Job<F::Output>)
    where
        F: Callable<Args>,
        Args: TupleArguments,
        F::Output: Serialize + DeserializeOwned + Send + 'static,
    {
        let (promise, job) = job::promise(job::unpack_same, Some(bound::decode));
        let binding = function.binding().cloned();
        let work = Box::new(FunctionWork { function, arguments, key: None, promise: Some(promise) });
        (Self::of_work(work, binding), job)
    }

    /// This call.
    pub(super) fn of_call<R: 'static>(call: BoundCall<R>) -> (Self, Job<R>) {
        let (promise, job) =
            job::promise(call.parts.transport.unpack, call.parts.transport.wire.map(|(_, decode)| decode));
        let binding = Some(call.binding.clone());
        (Self::of_work(Box::new(CallWork { call, promise: Some(promise) }), binding), job)
    }

    /// Any closure, which stays in this process.
    pub fn of_closure<R: Send + 'static>(run: impl FnOnce() -> R + Send + 'static) -> (Self, Job<R>) {
        let (promise, job) = job::promise(job::unpack_same, None);
        (Self::of_work(Box::new(ClosureWork { run, promise }), None), job)
    }

    fn of_work(work: Box<dyn Work>, binding: Option<Binding>) -> Self {
        Self { work: Contained::new(work), binding, asked: false, followers: None }
    }

    /// Binds the task, unless it is bound already.
    pub fn bind(&mut self, binding: impl FnOnce() -> Binding) {
        self.binding.get_or_insert_with(binding);
    }

    /// What the task is bound to; `None` if it is not bound.
    pub fn binding(&self) -> Option<&Binding> {
        self.binding.as_ref()
    }

    /// Completes the job from the bound cache, if the call is a hit there; else gives the task back.
    ///
    /// # Errors
    /// The task: it is not bound, not of a memoized function, or not a hit.
    #[allow(clippy::result_large_err)] // The task itself, which would be moved anyway.
    pub fn answer(mut self) -> Result<(), Self> {
        match &self.binding {
            Some(binding) if !self.asked && !binding.is_rerun() => {
                self.asked = true;
                // What panics while it is encoded or decoded is no hit; where it runs, the panic is the job's error.
                let answered = job::catch(|| self.work.answer(binding)).unwrap_or(false);
                if answered { Ok(()) } else { Err(self) }
            }
            _ => Err(self),
        }
    }

    /// Runs the call on this thread, under what it is bound to, and completes the job. A panic becomes the job's error.
    /// A cancelled task does nothing.
    ///
    /// Tasks of the same call that were submitted meanwhile follow: answered from the cache, or run if they cannot be.
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

    /// Ends, with what follows it, now that the call has run elsewhere: answered from the cache; else so.
    pub(super) fn follow(self, otherwise: &mut dyn FnMut(Self)) {
        let followers = self.followers.clone();
        match (Self { asked: false, ..self }).answer() {
            Ok(()) => {
                for follower in followers.map(|followers| followers.land()).unwrap_or_default() {
                    follower.follow(otherwise);
                }
            }
            Err(task) => otherwise(task),
        }
    }

    /// Which call it is of, where submissions of the same call that ask for the same may share one task.
    pub(super) fn flight(&self, asks: Option<&Resources>) -> Option<Flight> {
        // What is submitted within a body does not follow: a wait for another's task is not seen, and might be one for
        // that body. It waits as a call of its own.
        let shares =
            |binding: &&Binding| !binding.is_rerun() && !binding.cache().is_void() && binding.flights().is_empty();
        // In a forked child the table's lock may be held for good.
        let binding = self.binding.as_ref().filter(shares).filter(|_| !fork::is_child())?;
        let (cache, key) = (Arc::as_ptr(binding.cache().calls()).cast::<()>() as usize, self.work.key()?);
        Some(Flight { cache, key, asks: asks.cloned() })
    }

    /// Has tasks of the same call end with this one: those that follow it.
    pub(super) fn lead(&mut self) -> &Arc<Followers> {
        self.followers.get_or_insert_with(Followers::none)
    }

    /// Whether it is the one that these follow.
    pub(super) fn leads(&self, followers: &Arc<Followers>) -> bool {
        self.followers.as_ref().is_some_and(|own| Arc::ptr_eq(own, followers))
    }

    /// Takes the task apart into what another process of this binary needs to run the call, and the right to complete
    /// the job with what comes back.
    ///
    /// # Errors
    /// The task, where its function or result cannot leave the process, or its arguments cannot be encoded; with the
    /// reason.
    #[allow(clippy::result_large_err)] // The task itself, which would be moved anyway.
    pub fn take_apart(self) -> Result<(PortableCall, Reply), SubmitError> {
        let Self { work, binding, asked, followers } = self;
        let missed = if asked { work.key() } else { None };
        match work.into_inner().take_apart() {
            Ok(Apart { function, arguments, files, promise }) => {
                Ok((PortableCall { function, arguments, files, binding, missed }, Reply::new(promise, followers)))
            }
            Err((work, why)) => Err(Self { asked, followers, ..Self::of_work(work, binding) }.refuse(why)),
        }
    }

    /// Fails the job.
    pub fn fail(self, error: JobError) {
        for follower in self.followers.map(|followers| followers.land()).unwrap_or_default() {
            follower.fail(error.clone());
        }
        at_its_end(|| self.work.into_inner().fail(error));
    }

    /// Gives the task back to the submitter, who fails its job for this reason.
    pub fn refuse(self, why: impl Into<String>) -> SubmitError {
        SubmitError { task: self, why: JobError::rejected(why) }
    }

    /// Whether the job was cancelled: running the task then does nothing.
    pub fn is_cancelled(&self) -> bool {
        self.work.promise().is_none_or(Promise::is_done)
            && self.followers.as_ref().is_none_or(|followers| followers.are_gone())
    }

    /// Has this run whenever a job is done that the task completes, on the thread that ends it:
    /// [`is_cancelled`](Self::is_cancelled) may have changed then. For jobs that are not done yet, those of tasks that
    /// follow later included.
    pub fn watch(&self, tell: &Arc<dyn Fn() + Send + Sync>) {
        if let Some(promise) = self.work.promise() {
            let tell = tell.clone();
            promise.on_done(move || tell());
        }
        if let Some(followers) = &self.followers {
            followers.watch(tell);
        }
    }

    /// Whether running it completes this job.
    pub fn completes(&self, job: JobId) -> bool {
        self.work.promise().is_some_and(|promise| promise.is_of(job))
            || self.followers.as_ref().is_some_and(|followers| followers.complete(job))
    }

    /// Notes where a pool keeps the task, to be [told](crate::waiting::Sought::spot) when something waits for its job.
    /// Called under the pool's own lock.
    pub fn put(&self, spot: Spot) {
        if let Some(promise) = self.work.promise() {
            promise.put(spot);
        }
        if let Some(followers) = &self.followers {
            followers.mark().set(spot);
        }
    }

    /// Its job is to be looked for where that of the leader is.
    pub(super) fn be_sought_by(&self, leader: &Arc<Mark>) {
        if let Some(promise) = self.work.promise() {
            promise.follow(leader.clone());
        }
    }

    /// The function's name.
    pub fn name(&self) -> &str {
        self.work.name()
    }
}

/// Runs the last that a task does. Its body's panics are the job's by then; what may still panic is the `Drop` of the function
/// and of its arguments.
fn at_its_end(run: impl FnOnce()) {
    if let Err(panic) = contain(run) {
        crate::log::warn!("the `Drop` of a submitted function or of its arguments {panic}");
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("function", &self.name()).field("binding", &self.binding).finish_non_exhaustive()
    }
}
