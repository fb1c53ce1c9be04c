//! `With`: an executor with a resource request for everything that is submitted to it.

use super::{Executor, ExecutorConfig, Resources, SubmitError, Task};
use crate::store::Reach;

/// An executor with [`Resources`], created by [`ExecutorExt::with`](super::ExecutorExt::with).
#[derive(Debug)]
pub struct With<'a, E: ?Sized> {
    executor: &'a E,
    resources: Resources,
}

impl<'a, E: ?Sized> With<'a, E> {
    pub(super) fn new(executor: &'a E, resources: Resources) -> Self {
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
}
