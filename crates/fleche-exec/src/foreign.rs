//! Running a task on a thread of somebody else's pool.

use fleche_core::{Task, job};

/// Runs the task. A panic in what others do when its job is done is told, and goes no further: in rayon it would end the
/// process. The body's own panics are the job's.
pub(crate) fn run(task: Task) {
    if let Err(panic) = job::catch(|| task.run()) {
        fleche_core::log::error!(%panic, "a panic after the end of a task");
    }
}
