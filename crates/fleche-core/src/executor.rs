//! Executors: what runs submitted calls, and the wrap that answers hits without them.

mod amid;
mod ext;
mod forward;
mod in_flight;
mod isolated;
mod map;
mod portable;
mod registry;
mod resources;
mod task;
mod with;
mod work;
mod wrapped;

pub use amid::amid;
pub use ext::{ExecutorExt, SubmittedResult};
pub use isolated::{Isolate, Isolator, isolate_in_process};
pub use map::Map;
pub use portable::{PortableCall, Reply};
pub use registry::{ExecutorInfo, executors};
pub use resources::Resources;
pub use task::Task;
pub use with::With;
pub use wrapped::{Wrapped, wrap_executor};

use std::{any::Any, fmt::Debug, sync::Arc};

pub use crate::context::{assigned_gpus, with_assigned_gpus};
use crate::{error::Result, job::JobError, store::Reach};

/// Runs tasks: a pool, a cluster, or the thread that submits. Users call what [`ExecutorExt`] adds.
pub trait Executor: Debug + Send + Sync {
    /// Accepts a task, to [run](Task::run) it once, at any time and on any thread, or gives it back with the reason. A
    /// task that is dropped fails its job.
    fn submit_task(&self, task: Task) -> Result<(), SubmitError>;

    /// As [`submit_task`](Self::submit_task), with what the call asks for. An executor honours it, or gives the task back
    /// with the names of what it does not know: [`Resources::known_to`]. The default knows nothing.
    fn submit_with(&self, task: Task, resources: &Resources) -> Result<(), SubmitError> {
        self.submit_task(resources.known_to(task, "this executor", &[])?)
    }

    /// How to make such an executor elsewhere.
    fn config(&self) -> Box<dyn ExecutorConfig>;

    /// How far its workers are: [`Reach::Process`], or beyond.
    fn reach(&self) -> Reach;
}

/// A task that was not accepted.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct SubmitError {
    /// The task.
    pub task: Task,
    /// Why not.
    pub why: JobError,
}

/// How to make an executor elsewhere. What [`ValueStoreConfig`](crate::store::ValueStoreConfig) says of backends holds
/// for executors.
#[typetag::serde(tag = "type")]
pub trait ExecutorConfig: ExecutorConfigObject + Debug + Send + Sync {
    /// Makes the executor.
    fn open(&self) -> Result<Arc<dyn Executor>>;
}

/// Clone and equality for boxed configurations.
#[doc(hidden)]
pub trait ExecutorConfigObject: Any {
    fn clone_box(&self) -> Box<dyn ExecutorConfig>;
    fn same(&self, other: &dyn ExecutorConfig) -> bool;
}

impl<T: ExecutorConfig + Clone + PartialEq> ExecutorConfigObject for T {
    fn clone_box(&self) -> Box<dyn ExecutorConfig> {
        Box::new(self.clone())
    }

    fn same(&self, other: &dyn ExecutorConfig) -> bool {
        (other as &dyn Any).downcast_ref::<T>() == Some(self)
    }
}

impl Clone for Box<dyn ExecutorConfig> {
    fn clone(&self) -> Self {
        (**self).clone_box()
    }
}

impl PartialEq for dyn ExecutorConfig {
    fn eq(&self, other: &Self) -> bool {
        self.same(other)
    }
}
