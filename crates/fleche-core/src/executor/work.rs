//! Type-erased work of tasks: calls of functions, bound calls and closures, and work that is nested in a waiting task.

use std::sync::Arc;

use serde::{Serialize, de::DeserializeOwned};
use tracing::Span;

use crate::{
    argument::{KnownFile, record_files},
    bound::{ArgsTuple, BoundCall, Callable, FunctionRef, Transport},
    call::CallKey,
    context::{Binding, with_empty_context},
    digest::Digest,
    engine::{Arguments, check_taken_apart, vouches_for_submitted},
    function::{Function, Loaded},
    job::{self, JobError, Promise},
    metadata,
    runtime::panics::discard,
};

/// The parts of a task that runs in another process.
pub(super) struct RemoteParts {
    pub(super) function: FunctionRef,
    pub(super) arguments: Arc<Arguments>,
    pub(super) files: Vec<KnownFile>,
    pub(super) promise: Promise,
}

/// The outcome of checking the cache before the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CacheCheck {
    /// The call was a hit, and the job is complete.
    Hit,
    /// There is no record, so the call need not look it up.
    Missing,
    /// The check has not shown whether there is a record.
    Unknown,
}

/// The work of a task, with the function's types erased.
pub(super) trait Work: Send {
    /// Completes the job from the cache if the call is a hit.
    fn answer(&mut self, binding: &Binding) -> CacheCheck;
    /// Returns the call's key if the function is memoized, and the key has been computed.
    fn key(&self) -> Option<CallKey>;
    /// Returns the digest of the function's code if the function is memoized.
    fn code(&self) -> Option<Digest>;
    fn run(self: Box<Self>);
    fn fail(self: Box<Self>, error: JobError);
    /// Returns the promise that completes the job, or `None` if it is used up.
    fn promise(&self) -> Option<&Promise>;
    fn name(&self) -> &str;
    /// Splits the work into the parts that are sent to another process, and the promise. Fails with the work and the reason
    /// if that is not possible.
    fn into_remote(self: Box<Self>, binding: Option<&Binding>) -> Result<RemoteParts, (Box<dyn Work>, String)>;
}

pub(super) struct FunctionWork<F, Args> {
    pub(super) function: F,
    pub(super) arguments: Args,
    pub(super) key: Option<CallKey>,
    /// The promise of the job; `None` once the job is completed.
    pub(super) promise: Option<Promise>,
}

impl<F, Args> Work for FunctionWork<F, Args>
where
    F: Callable<Args>,
    Args: ArgsTuple,
    F::Output: Serialize + DeserializeOwned + Send + 'static,
{
    fn answer(&mut self, binding: &Binding) -> CacheCheck {
        let Some(function) = self.function.function() else { return CacheCheck::Unknown };
        let parameters = function.definition.parameters;
        let mut arguments =
            self.arguments.encode(Arguments::new(), |at| parameters.get(at).is_some_and(|of| !of.ignored));
        let Ok(call) = arguments.call(function) else { return CacheCheck::Unknown };
        self.key = function.refusal().is_none().then_some(call.key);
        let result = match hit::<F::Output>(function, binding, &call.key) {
            Ok(result) => result,
            Err(answered) => return answered,
        };
        if !vouches_for_submitted(function, binding.cache(), &arguments, &self.arguments) {
            self.key = None;
            binding.cache().counters().take_back_hit();
            discard(result);
            return CacheCheck::Unknown;
        }
        complete(self.promise.take(), |promise| promise.complete(Ok(Box::new(result))))
    }

    fn key(&self) -> Option<CallKey> {
        self.key
    }

    fn code(&self) -> Option<Digest> {
        self.function.function().map(|function| function.id().code)
    }

    fn run(self: Box<Self>) {
        let Self { function, arguments, promise, .. } = *self;
        let Some(promise) = promise.filter(Promise::start) else { return };
        promise.complete(job::catch_panic(|| function.call(arguments)).map(|result| Box::new(result) as _));
    }

    fn fail(mut self: Box<Self>, error: JobError) {
        complete(self.promise.take(), |promise| promise.complete(Err(error)));
    }

    fn promise(&self) -> Option<&Promise> {
        self.promise.as_ref()
    }

    fn name(&self) -> &str {
        self.function.function().map_or_else(std::any::type_name::<F>, Function::name)
    }

    fn into_remote(mut self: Box<Self>, binding: Option<&Binding>) -> Result<RemoteParts, (Box<dyn Work>, String)> {
        let call = FunctionRef::from_callable(&self.function).and_then(|function| {
            let (arguments, files) =
                record_files(|| job::catch_panic(|| self.arguments.encode(Arguments::in_full(), |_| true)));
            let arguments = arguments.map_err(|panic| panic.to_string())?.whole();
            let arguments = arguments.map_err(|error| format!("an argument of `{}`: {error}", self.name()))?;
            // The other process gets only the encoding, and cannot see what it loses.
            if let Some(function) = self.function.function() {
                check_taken_apart(function, binding, &arguments, &self.arguments);
            }
            Ok((function, Arc::new(arguments), files))
        });
        match call.and_then(|call| apart(&mut self.promise, call)) {
            Ok(apart) => {
                // A panicking `Drop` of the function or its arguments must not affect what the other process gets.
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
    fn answer(&mut self, binding: &Binding) -> CacheCheck {
        let function = self.call.function;
        let Some(key) = &self.call.key else { return CacheCheck::Unknown };
        let result = match hit::<R>(function, binding, key) {
            Ok(result) => result,
            Err(answered) => return answered,
        };
        let Transport { pack, .. } = self.call.parts.transport;
        let packed = job::catch_panic(|| pack(result)).flatten();
        complete(self.promise.take(), |promise| promise.complete(packed))
    }

    fn key(&self) -> Option<CallKey> {
        self.call.key.filter(|_| self.call.function.refusal().is_none())
    }

    fn code(&self) -> Option<Digest> {
        Some(self.call.function.id().code)
    }

    fn run(self: Box<Self>) {
        let Self { call, promise } = *self;
        let Some(promise) = promise.filter(Promise::start) else { return };
        let Transport { pack, .. } = call.parts.transport;
        promise.complete(job::catch_panic(|| call.call().and_then(pack)).flatten());
    }

    fn fail(mut self: Box<Self>, error: JobError) {
        complete(self.promise.take(), |promise| promise.complete(Err(error)));
    }

    fn promise(&self) -> Option<&Promise> {
        self.promise.as_ref()
    }

    fn name(&self) -> &str {
        self.call.function.name()
    }

    fn into_remote(mut self: Box<Self>, _: Option<&Binding>) -> Result<RemoteParts, (Box<dyn Work>, String)> {
        let call = self
            .call
            .reference()
            .and_then(|function| Ok((function, self.call.arguments.clone()?, self.call.files.clone())));
        match call.and_then(|call| apart(&mut self.promise, call)) {
            Ok(apart) => {
                // A panicking `Drop` of the function or its arguments must not affect what the other process gets.
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
    fn answer(&mut self, _: &Binding) -> CacheCheck {
        CacheCheck::Unknown
    }

    fn key(&self) -> Option<CallKey> {
        None
    }

    fn code(&self) -> Option<Digest> {
        None
    }

    fn run(self: Box<Self>) {
        let Self { run, promise } = *self;
        if promise.start() {
            promise.complete(job::catch_panic(run).map(|result| Box::new(result) as _));
        }
    }

    fn fail(self: Box<Self>, error: JobError) {
        self.promise.complete(Err(error));
    }

    fn promise(&self) -> Option<&Promise> {
        Some(&self.promise)
    }

    fn name(&self) -> &str {
        std::any::type_name::<C>()
    }

    fn into_remote(self: Box<Self>, _: Option<&Binding>) -> Result<RemoteParts, (Box<dyn Work>, String)> {
        let why = "a closure cannot leave its process; submit a function with its arguments".to_owned();
        Err((self, why))
    }
}

fn apart(
    promise: &mut Option<Promise>,
    (function, arguments, files): (FunctionRef, Arc<Arguments>, Vec<KnownFile>),
) -> Result<RemoteParts, String> {
    let promise = promise.take().ok_or("the job is already done")?;
    Ok(RemoteParts { function, arguments, files, promise })
}

/// Returns the recorded result of a memoized call, if its type is `R`.
fn hit<R: 'static>(function: &'static Function, binding: &Binding, key: &CallKey) -> Result<R, CacheCheck> {
    if function.refusal().is_some() {
        return Err(CacheCheck::Unknown);
    }
    match (function.load)(function, binding.cache(), key) {
        Loaded::Hit(result) => result.downcast().map(|result| *result).map_err(|_| CacheCheck::Unknown),
        Loaded::Missing => Err(CacheCheck::Missing),
        Loaded::Undecided => Err(CacheCheck::Unknown),
    }
}

/// Completes the job if the promise is still unused.
fn complete(promise: Option<Promise>, keep: impl FnOnce(Promise)) -> CacheCheck {
    promise.map_or(CacheCheck::Unknown, |promise| {
        keep(promise);
        CacheCheck::Hit
    })
}

/// Runs other work on the thread of a task that waits for it. For executors. Neither what is active on the thread nor
/// its tracing spans apply to that work, and the work's processor time does not count as the task's. Thread-local
/// variables of other crates are shared.
pub fn run_nested<R>(run: impl FnOnce() -> R) -> R {
    let (result, took) = metadata::lend_cpu(|| {
        let _out = Out::of_all_spans();
        with_empty_context(run)
    });
    metadata::borrow_cpu(took.map(|took| -took));
    result
}

/// The spans that were exited, the innermost first, to be entered again.
struct Out(Vec<Span>);

/// The maximum number of nested spans that are exited. A subscriber that keeps reporting a current span would loop
/// forever.
const SPANS: usize = 128;

impl Out {
    fn of_all_spans() -> Self {
        let mut left = Vec::new();
        while left.len() < SPANS {
            let span = Span::current();
            if span.with_subscriber(|(id, subscriber)| subscriber.exit(id)).is_none() {
                break;
            }
            left.push(span);
        }
        Self(left)
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        for span in self.0.iter().rev() {
            span.with_subscriber(|(id, subscriber)| subscriber.enter(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing::{dispatcher, info_span};

    use super::*;

    #[test]
    fn spans_are_exited_and_entered_again() {
        dispatcher::with_default(&tracing_subscriber::registry().into(), || {
            let (outer, inner) = (info_span!("outer"), info_span!("inner"));
            let _entered = (outer.enter(), inner.enter());
            run_nested(|| {
                assert!(Span::current().is_none());
                info_span!("other").in_scope(|| run_nested(|| assert!(Span::current().is_none())));
            });
            assert_eq!(Span::current(), inner);
            inner.with_subscriber(|(id, subscriber)| subscriber.exit(id));
            assert_eq!(Span::current(), outer);
            inner.with_subscriber(|(id, subscriber)| subscriber.enter(id));
        });
    }

    #[test]
    fn processor_time_of_nested_work_is_subtracted() {
        let work = || (0..2_000_000_u64).fold(1_u64, |x, y| std::hint::black_box(x.wrapping_mul(31).wrapping_add(y)));
        let mut within = None;
        let ((), without) = metadata::lend_cpu(|| {
            run_nested(|| within = metadata::lend_cpu(work).1);
        });
        assert!(without < within || within.is_none(), "{without:?} {within:?}");
    }
}
