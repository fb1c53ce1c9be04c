//! `ExecutorExt`: what users call on an executor.

use serde::{Serialize, de::DeserializeOwned};

use super::{Executor, Map, Resources, Task, With};
use crate::{
    bound::{BoundCall, Callable, TupleArguments},
    job::Job,
};

/// What users call on an executor. Every executor has it.
pub trait ExecutorExt: Executor {
    /// Submits the call of this function with this tuple of arguments, `(a,)` for one, and returns at once. What goes
    /// wrong, a refusal included, is the job's error.
    ///
    /// Unless the executor is [wrapped](super::wrap_executor) or the function is [bound](crate::Bound), the call runs
    /// under what is active on the worker's thread, not on this one.
    fn submit<F, Args>(&self, function: F, arguments: Args) -> Job<F::Output>
    where
        F: Callable<Args>,
        Args: TupleArguments,
        F::Output: SubmittedResult,
    {
        let (task, job) = Task::of_function(function, arguments);
        submit(self, task);
        job
    }

    /// Submits a bound call, and returns at once. The function may borrow its parameters and return any type.
    fn run<R: 'static>(&self, call: BoundCall<R>) -> Job<R> {
        let (task, job) = Task::of_call(call);
        submit(self, task);
        job
    }

    /// Calls the function with each tuple of arguments. Results come in the order of the inputs; inputs are taken as
    /// results are, a bounded number ahead, so that an endless iterator will do. What is dropped early is cancelled.
    fn map<F, Args, I>(&self, function: F, inputs: I) -> Map<'_, Self, F, I::IntoIter, F::Output>
    where
        F: Callable<Args> + Clone,
        Args: TupleArguments,
        F::Output: SubmittedResult,
        I: IntoIterator<Item = Args>,
    {
        Map::new(self, function, inputs.into_iter())
    }

    /// This executor, asking for these resources with everything that is submitted to what is returned:
    /// `pool.with(Resources::new().cores(4)).submit(heavy, (5,))`. What it does not know is the job's error.
    fn with(&self, resources: Resources) -> With<'_, Self> {
        With::new(self, resources)
    }
}

impl<E: Executor + ?Sized> ExecutorExt for E {}

/// What a function must return to be [submitted](ExecutorExt::submit). Every type that fulfils the bounds does.
///
/// A memoized function may return any type, an `anyhow::Result` for instance, where its call is bound and
/// [run](ExecutorExt::run): `pool.run(compute::bind(3, "a"))`.
#[diagnostic::on_unimplemented(
    message = "a function that returns `{Self}` cannot be submitted",
    label = "what it returns, errors included, must be `Serialize + DeserializeOwned + Send + 'static`",
    note = "the result of a `#[fleche]` function may hold any error, `anyhow::Error` for instance, where its call is bound: \
            `pool.run(f::bind(…))` in place of `pool.submit(f, (…))`"
)]
pub trait SubmittedResult: Serialize + DeserializeOwned + Send + 'static {}

#[diagnostic::do_not_recommend]
impl<R: Serialize + DeserializeOwned + Send + 'static> SubmittedResult for R {}

fn submit<E: Executor + ?Sized>(executor: &E, task: Task) {
    if let Err(refused) = executor.submit_task(task) {
        refused.task.fail(refused.why);
    }
}
