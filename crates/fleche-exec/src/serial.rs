//! `SerialExecutor`: runs tasks on the submitting thread. Also the function with which threads of other pools run a task.

use std::sync::Arc;

use fleche_core::{
    Error, Executor, Result, Task,
    executor::{ExecutorConfig, SubmitError},
    spi::fork::ProcessLocal,
    store::Reach,
};
use serde::{Deserialize, Serialize};

/// Runs each task at once on the thread that submits it: `submit` returns when the call has ended.
///
/// Use it to debug, as a baseline to compare with, and in programs that require an executor. A panic ends the job as
/// [`JobError::Panicked`](fleche_core::JobError::Panicked), as in any pool.
///
/// It is its own configuration: `{"type":"serial"}`.
///
/// ```
/// use fleche_core::ExecutorExt;
/// use fleche_exec::SerialExecutor;
///
/// let job = SerialExecutor.submit(|x: i64| x + 1, (1,));
/// assert!(job.is_done());
/// # assert_eq!(job.result(), Ok(2));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SerialExecutor;

impl Executor for SerialExecutor {
    fn submit_task(&self, task: Task) -> Result<(), SubmitError> {
        task.run();
        Ok(())
    }

    fn config(&self) -> Box<dyn ExecutorConfig> {
        Box::new(*self)
    }

    fn reach(&self) -> Reach {
        Reach::Process
    }
}

#[typetag::serde(name = "serial")]
impl ExecutorConfig for SerialExecutor {
    fn open(&self) -> Result<Arc<dyn Executor>> {
        Ok(Arc::new(*self))
    }
}

/// Runs the task. A panic of the body belongs to the job. Any other panic, for example in a callback of the job, is
/// logged here, since in rayon it would end the process.
#[cfg(any(feature = "rayon", feature = "tokio"))]
pub(crate) fn run_task(task: Task) {
    if let Err(panic) = fleche_core::spi::catch_panic(|| task.run()) {
        fleche_core::spi::log::error!(%panic, "a job's callback or a destructor panicked after the task had ended");
    }
}

/// Returns the task, or refuses it in a forked child, which has none of the threads of its parent's pools.
pub(crate) fn of_this_process<T>(task: Task, pool: &ProcessLocal<T>, what: &str) -> Result<Task, SubmitError> {
    if ProcessLocal::is_inherited(pool) {
        return Err(task.refuse(Error::Forked { what: what.to_owned() }.to_string()));
    }
    Ok(task)
}
