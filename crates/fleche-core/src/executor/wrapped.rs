//! The wrap that binds what is submitted and answers hits without the executor.

use super::{Executor, ExecutorConfig, Resources, SubmitError, Task};
use crate::{context::Binding, store::Reach};

/// An executor that answers hits itself; see [`wrap_executor`].
#[derive(Clone, Debug)]
pub struct Wrapped<E>(E);

/// Wraps an executor so that cached calls never reach it and all others carry the submitter's cache and metadata:
///
/// - a call of a memoized function that is a hit gives a job that is already done;
/// - a miss, and any other function or closure, is bound to what is active where it is submitted;
/// - what is bound already stays bound as it is.
///
/// Wrapping twice is as wrapping once.
pub fn wrap_executor<E: Executor>(executor: E) -> Wrapped<E> {
    Wrapped(executor)
}

impl<E> Wrapped<E> {
    /// The executor within.
    pub fn inner(&self) -> &E {
        &self.0
    }

    /// The executor within, without the wrap.
    pub fn into_inner(self) -> E {
        self.0
    }
}

impl<E: Executor> Executor for Wrapped<E> {
    fn submit_task(&self, mut task: Task) -> Result<(), SubmitError> {
        task.bind(Binding::current);
        task.answer().or_else(|task| self.0.submit_task(task))
    }

    /// A hit asks for nothing, so nothing is refused.
    fn submit_with(&self, mut task: Task, resources: &Resources) -> Result<(), SubmitError> {
        task.bind(Binding::current);
        task.answer().or_else(|task| self.0.submit_with(task, resources))
    }

    fn config(&self) -> Box<dyn ExecutorConfig> {
        self.0.config()
    }

    fn reach(&self) -> Reach {
        self.0.reach()
    }
}
