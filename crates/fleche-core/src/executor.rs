//! Executors: the trait and its registry, tasks and their resources, and the wrapper that answers hits without the executor.

pub(crate) mod remote;

mod ext;
mod named;
mod resources;
mod task;
pub(crate) mod work;
mod wrapped;

pub use ext::{ExecutorExt, Map, SubmittedResult, With};
pub use named::executor_named;
pub use resources::Resources;
pub use task::{SubmitError, Task};
pub use work::run_nested;
pub use wrapped::{Wrapped, wrap_executor};

use std::{
    any::Any,
    fmt::Debug,
    path::Path,
    sync::{Arc, LazyLock},
    thread,
};

pub use crate::context::{assigned_gpus, task_info::with_assigned_gpus};
use crate::{error::Result, store::Reach};

/// Runs tasks: in a pool, on a cluster, or on the submitting thread. Users call the methods of [`ExecutorExt`].
pub trait Executor: Debug + Send + Sync {
    /// Accepts a task, which the executor [runs](Task::run) once, at any time and on any thread. Returns the task with
    /// the reason if it is not accepted. A task that is dropped fails its job.
    fn submit_task(&self, task: Task) -> Result<(), SubmitError>;

    /// Like [`submit_task`](Self::submit_task), with the resources that the call requests. The executor provides them,
    /// or returns the task with the names of those that it does not support; see [`Resources::known_to`]. The default
    /// supports none.
    fn submit_with(&self, task: Task, resources: &Resources) -> Result<(), SubmitError> {
        self.submit_task(resources.known_to(task, "this executor", &[])?)
    }

    /// Returns the description from which another process can create such an executor.
    fn config(&self) -> Box<dyn ExecutorConfig>;

    /// Returns the processes in which the executor's workers are: [`Reach::Process`], or others.
    fn reach(&self) -> Reach;

    /// Returns the number of calls that [`map`](ExecutorExt::map) submits before their results are taken. The default,
    /// eight per core of this machine, keeps every local worker busy; a cluster needs more.
    fn look_ahead(&self) -> usize {
        static LOCAL: LazyLock<usize> = LazyLock::new(|| 8 * thread::available_parallelism().map_or(8, Into::into));
        *LOCAL
    }
}

/// The configuration of an executor, from which another process can create it. The rules of
/// [`ValueStoreConfig`](crate::store::ValueStoreConfig) for backends apply to executors too.
#[typetag::serde(tag = "type")]
pub trait ExecutorConfig: ExecutorConfigObject + Debug + Send + Sync {
    /// Creates the executor.
    fn open(&self) -> Result<Arc<dyn Executor>>;

    /// Makes relative paths in the configuration absolute. Called for configurations from a file, with the file's
    /// directory. The default does nothing.
    fn resolve(&mut self, directory: &Path) {
        let _ = directory;
    }
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

// Implements the trait for references, boxes and `Arc`s.
macro_rules! forward {
    ($($pointer:ty),*) => {$(
        #[deny(clippy::missing_trait_methods)]
        impl<E: Executor + ?Sized> Executor for $pointer {
            fn submit_task(&self, task: Task) -> Result<(), SubmitError> {
                (**self).submit_task(task)
            }
            fn submit_with(&self, task: Task, resources: &Resources) -> Result<(), SubmitError> {
                (**self).submit_with(task, resources)
            }
            fn config(&self) -> Box<dyn ExecutorConfig> {
                (**self).config()
            }
            fn reach(&self) -> Reach {
                (**self).reach()
            }
            fn look_ahead(&self) -> usize {
                (**self).look_ahead()
            }
        }
    )*};
}

forward!(&E, Arc<E>, Box<E>);

/// The registration of an executor.
#[derive(Debug)]
pub struct ExecutorInfo {
    /// The permanent name: the `type` in its configurations.
    pub name: &'static str,
    /// The purpose of the executor, in one line.
    pub summary: &'static str,
    /// The processes in which the executor's workers are.
    pub reach: Reach,
    /// The number of calls that an executor from `scratch` runs concurrently; 0 if a call runs before its submission
    /// returns.
    pub at_once: usize,
    /// The number of calls that a test of many calls submits: 10 000 for an executor on this machine, fewer for one
    /// that takes milliseconds to start a call.
    pub calls: usize,
    /// Creates an executor for tests.
    pub scratch: fn() -> Result<Arc<dyn Executor>>,
}

inventory::collect!(ExecutorInfo);

/// Returns the executors that are linked into this program, sorted by name. A crate that is only listed in `Cargo.toml`
/// is not linked; see [`backends`](crate::store::backends).
pub fn executors() -> Vec<&'static ExecutorInfo> {
    let mut executors: Vec<_> = inventory::iter::<ExecutorInfo>().collect();
    executors.sort_by_key(|executor| executor.name);
    executors
}

/// Registers an executor with the fields of an [`ExecutorInfo`](crate::executor::ExecutorInfo), as
/// [`register_backend!`](crate::register_backend) does for stores.
#[macro_export]
macro_rules! register_executor {
    ($($field:ident : $value:expr),* $(,)?) => {
        $crate::__private::inventory::submit! {
            $crate::executor::ExecutorInfo { $($field: $value),* }
        }
    };
}
