//! What executors share: running a task on a thread of another pool, and refusing tasks in a forked child.

use fleche_core::{Error, Task, executor::SubmitError, fork::ProcessLocal};

/// Runs the task. A panic in what others do when its job is done is told, and goes no further: in rayon it would end the
/// process. The body's own panics are the job's.
#[cfg(any(feature = "rayon", feature = "tokio"))]
pub(crate) fn run(task: Task) {
    if let Err(panic) = fleche_core::job::catch(|| task.run()) {
        fleche_core::log::error!(%panic, "a panic after the end of a task");
    }
}

/// Gives the task back in a forked child, which has none of the threads of its parent's pools.
pub(crate) fn of_this_process<T>(task: Task, pool: &ProcessLocal<T>, what: &str) -> Result<Task, SubmitError> {
    if ProcessLocal::is_inherited(pool) {
        return Err(task.refuse(Error::Forked { what: what.to_owned() }.to_string()));
    }
    Ok(task)
}
