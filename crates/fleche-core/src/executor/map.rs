//! `Map`: one function over many inputs, in order, lazily.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, LazyLock},
    thread,
};

use super::{Executor, ExecutorExt, SubmittedResult};
use crate::{
    bound::{Callable, TupleArguments},
    job::{Job, JobError},
};

/// The results of [`ExecutorExt::map`], in the order of the inputs.
#[must_use = "inputs are submitted as results are taken"]
pub struct Map<'a, E: ?Sized, F, I, R> {
    executor: &'a E,
    function: F,
    inputs: I,
    submitted: VecDeque<Job<R>>,
    /// How many calls are submitted and not yet taken.
    ahead: usize,
    /// Run whenever a call ends.
    each_done: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl<'a, E: ?Sized, F, I, R> Map<'a, E, F, I, R> {
    pub(super) fn new(executor: &'a E, function: F, inputs: I) -> Self {
        // Enough to keep every worker of this machine busy while one result is awaited.
        static AHEAD: LazyLock<usize> = LazyLock::new(|| 8 * thread::available_parallelism().map_or(8, Into::into));
        Self { executor, function, inputs, submitted: VecDeque::new(), ahead: *AHEAD, each_done: None }
    }

    /// Runs the closure whenever a call ends, whatever becomes of it, before its result can be taken: on the thread that
    /// completes it, or, for hits, on this one. For counting and progress bars. A panic in it becomes the call's error;
    /// of several closures the last one counts.
    pub fn on_each_done(mut self, run: impl Fn() + Send + Sync + 'static) -> Self {
        self.each_done = Some(Arc::new(run));
        self
    }

    /// The inputs that were not submitted yet.
    pub fn inputs(&self) -> &I {
        &self.inputs
    }

    /// How many calls may be submitted before their results are taken. At least one.
    pub fn ahead(mut self, calls: usize) -> Self {
        self.ahead = calls.max(1);
        self
    }
}

impl<E, F, Args, I> Iterator for Map<'_, E, F, I, F::Output>
where
    E: Executor + ?Sized,
    F: Callable<Args> + Clone,
    Args: TupleArguments,
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
