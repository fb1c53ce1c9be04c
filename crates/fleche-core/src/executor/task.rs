//! `Task`: a call on its way to a worker.

use std::{fmt, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    PortableCall, Reply, SubmitError,
    in_flight::{Flight, Followers},
    work::{Apart, CallWork, ClosureWork, FunctionWork, Work},
};
use crate::{
    bound::{self, BoundCall, Callable, TupleArguments},
    context::Binding,
    job::{self, Job, JobError},
};

/// A call on its way to a worker, with the job that its result completes. Dropped without having run, it fails the job.
pub struct Task {
    work: Box<dyn Work>,
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
        (Self { work, binding, asked: false, followers: None }, job)
    }

    /// This call.
    pub(super) fn of_call<R: 'static>(call: BoundCall<R>) -> (Self, Job<R>) {
        let (promise, job) = job::promise(call.transport.unpack, call.transport.wire.map(|(_, decode)| decode));
        let binding = Some(call.binding.clone());
        (
            Self { work: Box::new(CallWork { call, promise: Some(promise) }), binding, asked: false, followers: None },
            job,
        )
    }

    /// Any closure, which stays in this process.
    pub fn of_closure<R: Send + 'static>(run: impl FnOnce() -> R + Send + 'static) -> (Self, Job<R>) {
        let (promise, job) = job::promise(job::unpack_same, None);
        let work = Box::new(ClosureWork { run, promise });
        (Self { work, binding: None, asked: false, followers: None }, job)
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
            work.run();
        }
        for follower in followers.map(|followers| followers.land()).unwrap_or_default() {
            if let Err(follower) = follower.answer_again() {
                follower.run();
            }
        }
    }

    /// As [`answer`](Self::answer), after the call has run elsewhere.
    #[allow(clippy::result_large_err)] // The task itself, which would be moved anyway.
    pub(super) fn answer_again(self) -> Result<(), Self> {
        Self { asked: false, ..self }.answer()
    }

    /// Which call it is of, where submissions of the same call may share one task.
    pub(super) fn flight(&self) -> Option<Flight> {
        let binding = self.binding.as_ref().filter(|binding| !binding.is_rerun() && !binding.cache().is_void())?;
        Some(Flight { cache: Arc::as_ptr(binding.cache().calls()).cast::<()>() as usize, key: self.work.key()? })
    }

    /// Has tasks of the same call end with this one.
    pub(super) fn lead(&mut self, followers: Arc<Followers>) {
        self.followers = Some(followers);
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
        match work.take_apart() {
            Ok(Apart { function, arguments, files, promise }) => {
                Ok((PortableCall { function, arguments, files, binding, missed }, Reply::new(promise, followers)))
            }
            Err((work, why)) => Err(Self { work, binding, asked, followers }.refuse(why)),
        }
    }

    /// Fails the job.
    pub fn fail(self, error: JobError) {
        for follower in self.followers.map(|followers| followers.land()).unwrap_or_default() {
            follower.fail(error.clone());
        }
        self.work.fail(error);
    }

    /// Gives the task back to the submitter, who fails its job for this reason.
    pub fn refuse(self, why: impl Into<String>) -> SubmitError {
        SubmitError { task: self, why: JobError::rejected(why) }
    }

    /// Whether the job was cancelled: running the task then does nothing.
    pub fn is_cancelled(&self) -> bool {
        self.work.is_cancelled() && self.followers.as_ref().is_none_or(|followers| followers.are_gone())
    }

    /// The function's name.
    pub fn name(&self) -> &str {
        self.work.name()
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("function", &self.name()).field("binding", &self.binding).finish_non_exhaustive()
    }
}
