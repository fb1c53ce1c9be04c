//! `Task`: a call on its way to a worker.

use std::{any::Any, fmt, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

use super::{PortableCall, Reply, SubmitError};
use crate::{
    bound::{self, BoundCall, Callable, FunctionRef, Transport, TupleArguments},
    context::Binding,
    function::Function,
    job::{self, Job, JobError, Promise},
    memo::Arguments,
};

/// A call on its way to a worker, with the job that its result completes. Dropped without having run, it fails the job.
pub struct Task {
    work: Box<dyn Work>,
    binding: Option<Binding>,
    /// Whether the bound cache was asked already.
    asked: bool,
}

/// What another process needs, and the right to complete the job.
type Apart = (FunctionRef, Arc<Arguments>, Promise);

/// What a task does, with the types of its function forgotten.
trait Work: Send {
    /// Completes the job from the cache, if the call is a hit there.
    fn answer(&mut self, binding: &Binding) -> bool;
    fn run(self: Box<Self>);
    fn fail(self: Box<Self>, error: JobError);
    fn is_cancelled(&self) -> bool;
    fn name(&self) -> &str;
    /// What another process needs, and the right to complete the job; else the work, and why not.
    fn take_apart(self: Box<Self>) -> Result<Apart, (Box<dyn Work>, String)>;
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
        let work = Box::new(FunctionWork { function, arguments, promise: Some(promise) });
        (Self { work, binding, asked: false }, job)
    }

    /// This call.
    pub(super) fn of_call<R: 'static>(call: BoundCall<R>) -> (Self, Job<R>) {
        let (promise, job) = job::promise(call.transport.unpack, call.transport.wire.map(|(_, decode)| decode));
        let binding = Some(call.binding.clone());
        (Self { work: Box::new(CallWork { call, promise: Some(promise) }), binding, asked: false }, job)
    }

    /// Any closure, which stays in this process.
    pub fn of_closure<R: Send + 'static>(run: impl FnOnce() -> R + Send + 'static) -> (Self, Job<R>) {
        let (promise, job) = job::promise(job::unpack_same, None);
        let work = Box::new(ClosureWork { run, promise });
        (Self { work, binding: None, asked: false }, job)
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
                if self.work.answer(binding) { Ok(()) } else { Err(self) }
            }
            _ => Err(self),
        }
    }

    /// Runs the call on this thread, under what it is bound to, and completes the job. A panic becomes the job's error.
    /// A cancelled task does nothing.
    pub fn run(self) {
        let _bound = self.binding.as_ref().map(Binding::enter);
        self.work.run();
    }

    /// Takes the task apart into what another process of this binary needs to run the call, and the right to complete
    /// the job with what comes back.
    ///
    /// # Errors
    /// The task, where its function or result cannot leave the process, or its arguments cannot be encoded; with the
    /// reason.
    #[allow(clippy::result_large_err)] // The task itself, which would be moved anyway.
    pub fn take_apart(self) -> Result<(PortableCall, Reply), SubmitError> {
        let Self { work, binding, asked } = self;
        match work.take_apart() {
            Ok((function, arguments, promise)) => {
                Ok((PortableCall { function, arguments, binding }, Reply::new(promise)))
            }
            Err((work, why)) => Err(Self { work, binding, asked }.refuse(why)),
        }
    }

    /// Fails the job.
    pub fn fail(self, error: JobError) {
        self.work.fail(error);
    }

    /// Gives the task back to the submitter, who fails its job for this reason.
    pub fn refuse(self, why: impl Into<String>) -> SubmitError {
        SubmitError { task: self, why: JobError::rejected(why) }
    }

    /// Whether the job was cancelled: running the task then does nothing.
    pub fn is_cancelled(&self) -> bool {
        self.work.is_cancelled()
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

struct FunctionWork<F, Args> {
    function: F,
    arguments: Args,
    /// Gone once the job is completed.
    promise: Option<Promise>,
}

impl<F, Args> Work for FunctionWork<F, Args>
where
    F: Callable<Args>,
    Args: TupleArguments,
    F::Output: Serialize + DeserializeOwned + Send + 'static,
{
    fn answer(&mut self, binding: &Binding) -> bool {
        let Some(function) = self.function.function() else { return false };
        let parameters = function.definition.parameters;
        let mut arguments = self.arguments.encode(|at| parameters.get(at).is_some_and(|of| !of.ignored));
        let Ok(call) = arguments.call(function) else { return false };
        let Some(result) = hit::<F::Output>(function, binding, &call.key) else { return false };
        complete(self.promise.take(), |promise| promise.keep(Ok(Box::new(result))))
    }

    fn run(self: Box<Self>) {
        let Self { function, arguments, promise } = *self;
        let Some(promise) = promise.filter(Promise::start) else { return };
        promise.keep(job::catch(|| function.call(arguments)).map(|result| Box::new(result) as _));
    }

    fn fail(mut self: Box<Self>, error: JobError) {
        complete(self.promise.take(), |promise| promise.keep(Err(error)));
    }

    fn is_cancelled(&self) -> bool {
        self.promise.as_ref().is_none_or(Promise::is_done)
    }

    fn name(&self) -> &str {
        self.function.function().map_or_else(std::any::type_name::<F>, Function::name)
    }

    fn take_apart(mut self: Box<Self>) -> Result<Apart, (Box<dyn Work>, String)> {
        let call = FunctionRef::of_callable(&self.function).and_then(|function| {
            let arguments = self.arguments.encode(|_| true).whole();
            Ok((function, arguments.map_err(|error| format!("an argument of `{}`: {error}", self.name()))?))
        });
        match call {
            Ok((function, arguments)) => take(&mut self.promise, function, Arc::new(arguments)).ok_or((self, gone())),
            Err(why) => Err((self, why)),
        }
    }
}

struct CallWork<R> {
    call: BoundCall<R>,
    promise: Option<Promise>,
}

impl<R: 'static> Work for CallWork<R> {
    fn answer(&mut self, binding: &Binding) -> bool {
        let function = self.call.function;
        let Some(key) = &self.call.key else { return false };
        let Some(result) = hit::<R>(function, binding, key) else { return false };
        let Transport { pack, .. } = self.call.transport;
        complete(self.promise.take(), |promise| promise.keep(pack(result)))
    }

    fn run(self: Box<Self>) {
        let Self { call, promise } = *self;
        let Some(promise) = promise.filter(Promise::start) else { return };
        let Transport { pack, .. } = call.transport;
        promise.keep(job::catch(|| call.call()).and_then(|result| result).and_then(pack));
    }

    fn fail(mut self: Box<Self>, error: JobError) {
        complete(self.promise.take(), |promise| promise.keep(Err(error)));
    }

    fn is_cancelled(&self) -> bool {
        self.promise.as_ref().is_none_or(Promise::is_done)
    }

    fn name(&self) -> &str {
        self.call.function.name()
    }

    fn take_apart(mut self: Box<Self>) -> Result<Apart, (Box<dyn Work>, String)> {
        let call = self.call.reference().and_then(|function| Ok((function, self.call.arguments.clone()?)));
        match call {
            Ok((function, arguments)) => take(&mut self.promise, function, arguments).ok_or((self, gone())),
            Err(why) => Err((self, why)),
        }
    }
}

struct ClosureWork<C> {
    run: C,
    promise: Promise,
}

impl<R: Send + 'static, C: FnOnce() -> R + Send + 'static> Work for ClosureWork<C> {
    fn answer(&mut self, _: &Binding) -> bool {
        false
    }

    fn run(self: Box<Self>) {
        let Self { run, promise } = *self;
        if promise.start() {
            promise.keep(job::catch(run).map(|result| Box::new(result) as _));
        }
    }

    fn fail(self: Box<Self>, error: JobError) {
        self.promise.keep(Err(error));
    }

    fn is_cancelled(&self) -> bool {
        self.promise.is_done()
    }

    fn name(&self) -> &str {
        std::any::type_name::<C>()
    }

    fn take_apart(self: Box<Self>) -> Result<Apart, (Box<dyn Work>, String)> {
        let why = "a spawned closure stays in its process; submit a function with its arguments".to_owned();
        Err((self, why))
    }
}

fn take(promise: &mut Option<Promise>, function: FunctionRef, arguments: Arc<Arguments>) -> Option<Apart> {
    promise.take().map(|promise| (function, arguments, promise))
}

fn gone() -> String {
    "the job is done already".to_owned()
}

/// The recorded result of a memoized call, if its return type is `R`.
fn hit<R: 'static>(function: &'static Function, binding: &Binding, key: &crate::call::CallKey) -> Option<R> {
    if !function.has_its_name_alone() {
        return None;
    }
    let result: Box<dyn Any> = (function.load)(function, binding.cache(), key)?;
    result.downcast().ok().map(|result| *result)
}

/// Completes the job, if that was not done before. Whether it was not.
fn complete(promise: Option<Promise>, keep: impl FnOnce(Promise)) -> bool {
    promise.map(keep).is_some()
}
