//! Helpers of executors: running a task on another pool's thread, and refusing tasks in a forked child.

use fleche_core::{Error, Task, executor::SubmitError, spi::fork::ProcessLocal};

/// Runs the task. A panic of the body belongs to the job. Any other panic, for example in a callback of the job, is
/// logged here, since in rayon it would end the process.
#[cfg(any(feature = "rayon", feature = "tokio"))]
pub(crate) fn run(task: Task) {
    if let Err(panic) = fleche_core::job::catch(|| task.run()) {
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
