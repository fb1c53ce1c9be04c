//! What tasks do: calls of functions, bound calls and closures, with their types forgotten.

use std::{any::Any, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    bound::{BoundCall, Callable, FunctionRef, Transport, TupleArguments},
    call::CallKey,
    context::Binding,
    file_content::{KnownFile, noting_files},
    function::Function,
    job::{self, JobError, Promise},
    memo::{Arguments, vouches_for_submitted},
    panics::discard,
};

/// What another process needs, and the right to complete the job.
pub(super) struct Apart {
    pub(super) function: FunctionRef,
    pub(super) arguments: Arc<Arguments>,
    pub(super) files: Vec<KnownFile>,
    pub(super) promise: Promise,
}

/// What a task does, with the types of its function forgotten.
pub(super) trait Work: Send {
    /// Completes the job from the cache, if the call is a hit there.
    fn answer(&mut self, binding: &Binding) -> bool;
    /// The call's key, where it is of a memoized function; known once it was asked for.
    fn key(&self) -> Option<CallKey>;
    fn run(self: Box<Self>);
    fn fail(self: Box<Self>, error: JobError);
    /// The right to complete the job; `None` once that is done.
    fn promise(&self) -> Option<&Promise>;
    fn name(&self) -> &str;
    /// What another process needs, and the right to complete the job; else the work, and why not.
    fn take_apart(self: Box<Self>) -> Result<Apart, (Box<dyn Work>, String)>;
}

pub(super) struct FunctionWork<F, Args> {
    pub(super) function: F,
    pub(super) arguments: Args,
    pub(super) key: Option<CallKey>,
    /// Gone once the job is completed.
    pub(super) promise: Option<Promise>,
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
        let mut arguments =
            self.arguments.encode(Arguments::new(), |at| parameters.get(at).is_some_and(|of| !of.ignored));
        let Ok(call) = arguments.call(function) else { return false };
        self.key = function.refusal().is_none().then_some(call.key);
        let Some(result) = hit::<F::Output>(function, binding, &call.key) else { return false };
        if !vouches_for_submitted(function, binding.cache(), &arguments, &self.arguments) {
            self.key = None;
            discard(result);
            return false;
        }
        complete(self.promise.take(), |promise| promise.keep(Ok(Box::new(result))))
    }

    fn key(&self) -> Option<CallKey> {
        self.key
    }

    fn run(self: Box<Self>) {
        let Self { function, arguments, promise, .. } = *self;
        let Some(promise) = promise.filter(Promise::start) else { return };
        promise.keep(job::catch(|| function.call(arguments)).map(|result| Box::new(result) as _));
    }

    fn fail(mut self: Box<Self>, error: JobError) {
        complete(self.promise.take(), |promise| promise.keep(Err(error)));
    }

    fn promise(&self) -> Option<&Promise> {
        self.promise.as_ref()
    }

    fn name(&self) -> &str {
        self.function.function().map_or_else(std::any::type_name::<F>, Function::name)
    }

    fn take_apart(mut self: Box<Self>) -> Result<Apart, (Box<dyn Work>, String)> {
        let call = FunctionRef::of_callable(&self.function).and_then(|function| {
            let (arguments, files) =
                noting_files(|| job::catch(|| self.arguments.encode(Arguments::in_full(), |_| true)));
            let arguments = arguments.map_err(|panic| panic.to_string())?.whole();
            let arguments = arguments.map_err(|error| format!("an argument of `{}`: {error}", self.name()))?;
            Ok((function, Arc::new(arguments), files))
        });
        match call.and_then(|call| apart(&mut self.promise, call)) {
            Ok(apart) => {
                // The function and its arguments, whose `Drop` must not cost what goes to the other process.
                discard(self);
                Ok(apart)
            }
            Err(why) => Err((self, why)),
        }
    }
}

pub(super) struct CallWork<R> {
    pub(super) call: BoundCall<R>,
    pub(super) promise: Option<Promise>,
}

impl<R: 'static> Work for CallWork<R> {
    fn answer(&mut self, binding: &Binding) -> bool {
        let function = self.call.function;
        let Some(key) = &self.call.key else { return false };
        let Some(result) = hit::<R>(function, binding, key) else { return false };
        let Transport { pack, .. } = self.call.parts.transport;
        let packed = job::catch(|| pack(result)).flatten();
        complete(self.promise.take(), |promise| promise.keep(packed))
    }

    fn key(&self) -> Option<CallKey> {
        self.call.key.filter(|_| self.call.function.refusal().is_none())
    }

    fn run(self: Box<Self>) {
        let Self { call, promise } = *self;
        let Some(promise) = promise.filter(Promise::start) else { return };
        let Transport { pack, .. } = call.parts.transport;
        promise.keep(job::catch(|| call.call().and_then(pack)).flatten());
    }

    fn fail(mut self: Box<Self>, error: JobError) {
        complete(self.promise.take(), |promise| promise.keep(Err(error)));
    }

    fn promise(&self) -> Option<&Promise> {
        self.promise.as_ref()
    }

    fn name(&self) -> &str {
        self.call.function.name()
    }

    fn take_apart(mut self: Box<Self>) -> Result<Apart, (Box<dyn Work>, String)> {
        let call = self
            .call
            .reference()
            .and_then(|function| Ok((function, self.call.arguments.clone()?, self.call.files.clone())));
        match call.and_then(|call| apart(&mut self.promise, call)) {
            Ok(apart) => {
                // The function and its arguments, whose `Drop` must not cost what goes to the other process.
                discard(self);
                Ok(apart)
            }
            Err(why) => Err((self, why)),
        }
    }
}

pub(super) struct ClosureWork<C> {
    pub(super) run: C,
    pub(super) promise: Promise,
}

impl<R: Send + 'static, C: FnOnce() -> R + Send + 'static> Work for ClosureWork<C> {
    fn answer(&mut self, _: &Binding) -> bool {
        false
    }

    fn key(&self) -> Option<CallKey> {
        None
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

    fn promise(&self) -> Option<&Promise> {
        Some(&self.promise)
    }

    fn name(&self) -> &str {
        std::any::type_name::<C>()
    }

    fn take_apart(self: Box<Self>) -> Result<Apart, (Box<dyn Work>, String)> {
        let why = "a spawned closure stays in its process; submit a function with its arguments".to_owned();
        Err((self, why))
    }
}

fn apart(
    promise: &mut Option<Promise>,
    (function, arguments, files): (FunctionRef, Arc<Arguments>, Vec<KnownFile>),
) -> Result<Apart, String> {
    let promise = promise.take().ok_or("the job is done already")?;
    Ok(Apart { function, arguments, files, promise })
}

/// The recorded result of a memoized call, if its return type is `R`.
fn hit<R: 'static>(function: &'static Function, binding: &Binding, key: &CallKey) -> Option<R> {
    if function.refusal().is_some() {
        return None;
    }
    let result: Box<dyn Any> = (function.load)(function, binding.cache(), key)?;
    result.downcast().ok().map(|result| *result)
}

/// Completes the job, if that was not done before. Whether it was not.
fn complete(promise: Option<Promise>, keep: impl FnOnce(Promise)) -> bool {
    promise.map(keep).is_some()
}
