//! `ExecutorExt`: the methods that users call on an executor; `Map` and `With`, which they return.

use std::{collections::VecDeque, fmt, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

use super::{Executor, ExecutorConfig, Resources, SubmitError, Task};
use crate::{
    bound::{ArgsTuple, BoundCall, Callable},
    job::{Job, JobError},
    store::Reach,
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
        let (task, job) = Task::from_function(function, arguments);
        submit(self, task);
        job
    }

    /// Submits a bound call and returns at once. The function may borrow its parameters and return any type.
    fn run<R: 'static>(&self, call: BoundCall<R>) -> Job<R> {
        let (task, job) = Task::from_call(call);
        submit(self, task);
        job
    }

    /// Calls the function with each tuple of arguments and returns the results in the order of the inputs. Inputs are
    /// submitted as results are taken, up to a bounded number ahead, so the iterator may be infinite. Dropping the
    /// returned iterator cancels the calls whose results were not taken.
    fn map<F, Args, I>(&self, function: F, inputs: I) -> Map<'_, Self, F, I::IntoIter, F::Output>
    where
        F: Callable<Args> + Clone,
        Args: ArgsTuple,
        F::Output: SubmittedResult,
        I: IntoIterator<Item = Args>,
    {
        Map::new(self, function, inputs.into_iter(), self.look_ahead())
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

/// The iterator over the results of [`ExecutorExt::map`], in the order of the inputs.
#[must_use = "inputs are submitted as results are taken"]
pub struct Map<'a, E: ?Sized, F, I, R> {
    executor: &'a E,
    function: F,
    inputs: I,
    submitted: VecDeque<Job<R>>,
    /// The maximum number of calls that are submitted and whose results were not taken.
    ahead: usize,
    /// The closure to call whenever a call ends.
    each_done: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl<'a, E: ?Sized, F, I, R> Map<'a, E, F, I, R> {
    fn new(executor: &'a E, function: F, inputs: I, ahead: usize) -> Self {
        Self { executor, function, inputs, submitted: VecDeque::new(), ahead: ahead.max(1), each_done: None }
    }

    /// Runs the closure whenever a call ends, for any reason, before its result can be taken. It runs on the thread
    /// that completes the call; for hits, on this one. Useful for counters and progress bars. A panic in the closure
    /// becomes the call's error. A later closure replaces an earlier one.
    pub fn on_each_done(mut self, run: impl Fn() + Send + Sync + 'static) -> Self {
        self.each_done = Some(Arc::new(run));
        self
    }

    /// Returns the inputs that were not submitted yet.
    pub fn inputs(&self) -> &I {
        &self.inputs
    }

    /// Sets the number of calls that may be submitted before their results are taken; at least one. The default is the
    /// executor's [`look_ahead`](Executor::look_ahead).
    pub fn ahead(mut self, calls: usize) -> Self {
        self.ahead = calls.max(1);
        self
    }
}

impl<E, F, Args, I> Iterator for Map<'_, E, F, I, F::Output>
where
    E: Executor + ?Sized,
    F: Callable<Args> + Clone,
    Args: ArgsTuple,
    F::Output: SubmittedResult,
    I: Iterator<Item = Args>,
{
    type Item = Result<F::Output, JobError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.submitted.len() < self.ahead {
            let Some(arguments) = self.inputs.next() else { break };
            let job = self.executor.submit(self.function.clone(), arguments);
            if let Some(each_done) = self.each_done.clone() {
                job.before_done(move || each_done());
            }
            self.submitted.push_back(job);
        }
        self.submitted.pop_front().map(Job::result)
    }
}

impl<E: ?Sized, F, I, R> Drop for Map<'_, E, F, I, R> {
    fn drop(&mut self) {
        for job in &self.submitted {
            job.cancel();
        }
    }
}

impl<E: ?Sized, F, I, R> fmt::Debug for Map<'_, E, F, I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map").field("submitted", &self.submitted.len()).finish_non_exhaustive()
    }
}

/// An executor with [`Resources`], created by [`ExecutorExt::with`](super::ExecutorExt::with).
#[derive(Debug)]
pub struct With<'a, E: ?Sized> {
    executor: &'a E,
    resources: Resources,
}

impl<'a, E: ?Sized> With<'a, E> {
    fn new(executor: &'a E, resources: Resources) -> Self {
        Self { executor, resources }
    }
}

impl<E: Executor + ?Sized> Executor for With<'_, E> {
    fn submit_task(&self, task: Task) -> Result<(), SubmitError> {
        self.executor.submit_with(task, &self.resources)
    }

    fn submit_with(&self, task: Task, resources: &Resources) -> Result<(), SubmitError> {
        self.executor.submit_with(task, &self.resources.overridden_by(resources))
    }

    /// Returns the configuration of the executor alone.
    fn config(&self) -> Box<dyn ExecutorConfig> {
        self.executor.config()
    }

    fn reach(&self) -> Reach {
        self.executor.reach()
    }

    fn look_ahead(&self) -> usize {
        self.executor.look_ahead()
    }
}
