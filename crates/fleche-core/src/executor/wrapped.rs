//! The wrap that binds what is submitted and answers hits without the executor.

use std::sync::Arc;

use super::{Executor, ExecutorConfig, Resources, SubmitError, Task, in_flight::InFlight};
use crate::{context::Binding, store::Reach};

/// An executor that answers hits itself; see [`wrap_executor`].
#[derive(Clone, Debug)]
pub struct Wrapped<E> {
    executor: E,
    in_flight: Arc<InFlight>,
}

/// Wraps an executor so that cached calls never reach it and all others carry the submitter's cache and metadata:
///
/// - a call of a memoized function that is a hit gives a job that is already done;
/// - a miss, and any other function or closure, is bound to what is active where it is submitted;
/// - submissions of one missing call that ask for the same [`Resources`], while the first is on its way, share its task:
///   they get the recorded result, and the error of a task that ran in another process and recorded nothing (in this
///   process, they run in turn then). What asks for something else is a task of its own, which the executor accepts or
///   refuses by itself, and which waits for the other's result when it runs;
/// - what is bound already stays bound as it is.
///
/// An instance of a generic function is known from its first call in the process on; a hit before that is answered by
/// the executor.
///
/// Wrapping twice is as wrapping once.
pub fn wrap_executor<E: Executor>(executor: E) -> Wrapped<E> {
    Wrapped { executor, in_flight: Arc::default() }
}

impl<E> Wrapped<E> {
    /// The executor within.
    pub fn inner(&self) -> &E {
        &self.executor
    }

    /// The executor within, without the wrap.
    pub fn into_inner(self) -> E {
        self.executor
    }
}

impl<E: Executor> Executor for Wrapped<E> {
    fn submit_task(&self, mut task: Task) -> Result<(), SubmitError> {
        task.bind(Binding::current);
        let Err(task) = task.answer() else { return Ok(()) };
        let Some(task) = self.in_flight.board(task, None) else { return Ok(()) };
        self.executor.submit_task(task)
    }

    /// A hit asks for nothing, so nothing is refused.
    fn submit_with(&self, mut task: Task, resources: &Resources) -> Result<(), SubmitError> {
        task.bind(Binding::current);
        let Err(task) = task.answer() else { return Ok(()) };
        let asks = resources.names().next().map(|_| resources);
        let Some(task) = self.in_flight.board(task, asks) else { return Ok(()) };
        self.executor.submit_with(task, resources)
    }

    fn config(&self) -> Box<dyn ExecutorConfig> {
        self.executor.config()
    }

    fn reach(&self) -> Reach {
        self.executor.reach()
    }
}
