//! `SerialExecutor`: runs tasks on the submitting thread.

use std::sync::Arc;

use fleche_core::{
    Executor, Result, Task,
    executor::{ExecutorConfig, SubmitError},
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
