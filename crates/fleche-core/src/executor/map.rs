//! `Map`: calls one function with many inputs, in order and lazily.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, LazyLock},
    thread,
};

use super::{Executor, ExecutorExt, SubmittedResult};
use crate::{
    bound::{ArgsTuple, Callable},
    job::{Job, JobError},
};

/// The iterator over the results of [`ExecutorExt::map`], in the order of the inputs.
#[must_use = "inputs are submitted as results are taken"]
pub struct Map<'a, E: ?Sized, F, I, R> {
    executor: &'a E,
    function: F,
    inputs: I,
    submitted: VecDeque<Job<R>>,
    /// The maximum number of calls that are submitted and whose results were not taken.
    ahead: usize,
    /// Called whenever a call ends.
    each_done: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl<'a, E: ?Sized, F, I, R> Map<'a, E, F, I, R> {
    pub(super) fn new(executor: &'a E, function: F, inputs: I) -> Self {
        // Enough to keep every worker of this machine busy while one result is awaited.
        static AHEAD: LazyLock<usize> = LazyLock::new(|| 8 * thread::available_parallelism().map_or(8, Into::into));
        Self { executor, function, inputs, submitted: VecDeque::new(), ahead: *AHEAD, each_done: None }
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

    /// Sets how many calls may be submitted before their results are taken; at least one.
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
