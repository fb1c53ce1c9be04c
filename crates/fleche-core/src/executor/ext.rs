//! `ExecutorExt`: the methods that users call on an executor.

use serde::{Serialize, de::DeserializeOwned};

use super::{Executor, Map, Resources, Task, With};
use crate::{
    bound::{ArgsTuple, BoundCall, Callable},
    job::Job,
};

/// The methods that users call on an executor. Implemented for every executor.
pub trait ExecutorExt: Executor {
    /// Submits a call of this function with this tuple of arguments, `(a,)` for a single one, and returns at once.
    /// Every failure, including a refusal, becomes the job's error.
    ///
    /// Unless the executor is [wrapped](super::wrap_executor) or the function is [bound](crate::Bound), the call uses
    /// the cache and metadata that are active on the worker's thread, not those of this thread.
    fn submit<F, Args>(&self, function: F, arguments: Args) -> Job<F::Output>
    where
        F: Callable<Args>,
        Args: ArgsTuple,
        F::Output: SubmittedResult,
    {
        let (task, job) = Task::of_function(function, arguments);
        submit(self, task);
        job
    }

    /// Submits a bound call and returns at once. The function may borrow its parameters and return any type.
    fn run<R: 'static>(&self, call: BoundCall<R>) -> Job<R> {
        let (task, job) = Task::of_call(call);
        submit(self, task);
        job
    }

    /// Calls the function with each tuple of arguments and returns the results in the order of the inputs. Inputs are
    /// submitted as results are taken, up to a bounded number ahead, so the iterator may be endless. Dropping the
    /// returned iterator cancels the calls whose results were not taken.
    fn map<F, Args, I>(&self, function: F, inputs: I) -> Map<'_, Self, F, I::IntoIter, F::Output>
    where
        F: Callable<Args> + Clone,
        Args: ArgsTuple,
        F::Output: SubmittedResult,
        I: IntoIterator<Item = Args>,
    {
        Map::new(self, function, inputs.into_iter())
    }

    /// Returns this executor with a request for these resources, which applies to everything submitted to it:
    /// `pool.with(Resources::new().cores(4)).submit(heavy, (5,))`. If the executor does not support one of them, the
    /// job fails.
    fn with(&self, resources: Resources) -> With<'_, Self> {
        With::new(self, resources)
    }
}

impl<E: Executor + ?Sized> ExecutorExt for E {}

/// The bounds on the result of a function that is [submitted](ExecutorExt::submit). Implemented for every type that
/// satisfies them.
///
/// A memoized function may return any type, such as an `anyhow::Result`, if its call is bound and
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
