//! `TokioExecutor`: tasks on the blocking threads of a tokio runtime.

use std::sync::Arc;

use fleche_core::{
    Error, Executor, Result, Task,
    executor::{ExecutorConfig, SubmitError},
    fork::ProcessLocal,
    store::Reach,
};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use crate::foreign;

/// Runs tasks with `spawn_blocking` on a tokio runtime, so that the jobs can be awaited there and no task keeps a thread
/// that polls futures. A runtime has up to 512 such threads: to run no more than there are cores, take a
/// [`ThreadPool`](crate::ThreadPool), whose jobs can be awaited as well.
///
/// What is submitted to a runtime that has shut down ends as
/// [`JobError::Rejected`](fleche_core::JobError::Rejected); a runtime that shuts down waits for the tasks that have
/// started. An `async fn` needs no executor: spawn its future.
#[derive(Clone, Debug)]
pub struct TokioExecutor {
    handle: Handle,
    process: ProcessLocal<()>,
}

impl TokioExecutor {
    /// An executor over the runtime of this handle.
    pub fn new(handle: Handle) -> Self {
        Self { handle, process: ProcessLocal::default() }
    }

    /// An executor over the runtime in which this is called.
    ///
    /// # Errors
    /// [`Error::Config`] outside any.
    pub fn current() -> Result<Self> {
        Handle::try_current().map(Self::new).map_err(|error| Error::Config {
            place: "tokio executor".to_owned(),
            why: format!("{error} Call this within the runtime, or give its handle to `TokioExecutor::new`"),
        })
    }
}

impl Executor for TokioExecutor {
    fn submit_task(&self, task: Task) -> Result<(), SubmitError> {
        let task = foreign::of_this_process(task, &self.process, "the tokio runtime")?;
        // The job says how it ends; the handle of tokio's own task tells nothing more.
        drop(self.handle.spawn_blocking(move || foreign::run(task)));
        Ok(())
    }

    fn config(&self) -> Box<dyn ExecutorConfig> {
        Box::new(TokioConfig)
    }

    fn reach(&self) -> Reach {
        Reach::Process
    }
}

/// Describes a [`TokioExecutor`]: `{"type":"tokio"}`. `open` takes the runtime in which it is called, and fails outside
/// any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokioConfig;

#[typetag::serde(name = "tokio")]
impl ExecutorConfig for TokioConfig {
    fn open(&self) -> Result<Arc<dyn Executor>> {
        Ok(Arc::new(TokioExecutor::current()?))
    }
}
