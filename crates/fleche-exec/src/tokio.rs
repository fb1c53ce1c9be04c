//! `TokioExecutor`: runs tasks on the blocking threads of a tokio runtime.

use std::sync::Arc;

use fleche_core::{
    Error, Executor, Result, Task,
    executor::{ExecutorConfig, SubmitError},
    spi::fork::ProcessLocal,
    store::Reach,
};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use crate::serial::{of_this_process, run_task};

/// Runs tasks with `spawn_blocking` on a tokio runtime, so that no task occupies a thread that polls futures. The jobs
/// can be awaited in the runtime.
///
/// By default, a runtime has up to 512 blocking threads. To run no more tasks than there are cores, use a
/// [`ThreadPool`](crate::ThreadPool), whose jobs can be awaited as well.
///
/// A job that is submitted to a runtime that has shut down ends as
/// [`JobError::Rejected`](fleche_core::JobError::Rejected). A runtime that shuts down waits for the tasks that have
/// started. An `async fn` needs no executor: spawn its future.
#[derive(Clone, Debug)]
pub struct TokioExecutor {
    handle: Handle,
    process: ProcessLocal<()>,
}

impl TokioExecutor {
    /// Creates an executor that uses the runtime of this handle.
    pub fn new(handle: Handle) -> Self {
        Self { handle, process: ProcessLocal::default() }
    }

    /// Creates an executor that uses the current runtime.
    ///
    /// # Errors
    /// Fails with [`Error::Config`] outside of a runtime.
    pub fn current() -> Result<Self> {
        Handle::try_current().map(Self::new).map_err(|error| Error::Config {
            place: "tokio executor".to_owned(),
            why: format!("{error} Call this within the runtime, or pass its handle to `TokioExecutor::new`"),
        })
    }
}

impl Executor for TokioExecutor {
    fn submit_task(&self, task: Task) -> Result<(), SubmitError> {
        let task = of_this_process(task, &self.process, "the tokio runtime")?;
        // The job reports how the task ends; tokio's handle has nothing to add.
        drop(self.handle.spawn_blocking(move || run_task(task)));
        Ok(())
    }

    fn config(&self) -> Box<dyn ExecutorConfig> {
        Box::new(TokioConfig)
    }

    fn reach(&self) -> Reach {
        Reach::Process
    }
}

/// The configuration of a [`TokioExecutor`]: `{"type":"tokio"}`. `open` uses the runtime in which it is called, and
/// fails outside of a runtime.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokioConfig;

#[typetag::serde(name = "tokio")]
impl ExecutorConfig for TokioConfig {
    fn open(&self) -> Result<Arc<dyn Executor>> {
        Ok(Arc::new(TokioExecutor::current()?))
    }
}
