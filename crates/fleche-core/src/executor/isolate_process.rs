//! Runs isolated calls in their own processes, by means of a registered `Isolator`, since core starts no processes.

use std::{path::Path, sync::Arc};

use super::{SubmitError, Task};
use crate::{
    bound::BoundCall,
    context::assigned_gpus,
    isolate::{Isolation, PrivateDirectory, refuse},
    job::JobError,
    runtime::panics::CaughtPanic,
};

/// Runs isolated calls in other processes. Registered by a crate with executors.
#[derive(Debug)]
pub struct Isolator {
    /// Runs the task at once in a process that runs nothing else at the time, in this working directory and with these
    /// GPUs [assigned](super::assigned_gpus). Returns the task with the reason if that is not possible.
    pub run: Isolate,
}

/// The type of [`Isolator::run`].
pub type Isolate = fn(Task, &Path, Arc<[u32]>) -> Result<(), SubmitError>;

inventory::collect!(Isolator);

/// Registers how isolated calls run in other processes, with the fields of an [`Isolator`](crate::executor::Isolator).
#[macro_export]
macro_rules! register_isolator {
    ($($field:ident : $value:expr),* $(,)?) => {
        $crate::__private::inventory::submit! {
            $crate::executor::Isolator { $($field: $value),* }
        }
    };
}

/// Runs a bound body in another process, with a new directory as its working directory. The directory is removed when
/// the body has ended. A panic of the body is resumed here with its message.
///
/// # Panics
/// Panics if the body does, if the process is lost, or if the call cannot run in another process; in the last case the
/// body has not run.
pub fn isolate_in_process<R: 'static>(isolation: Isolation, body: BoundCall<R>) -> R {
    let name = body.function.name();
    let Some(isolator) = inventory::iter::<Isolator>().next() else {
        refuse(format_args!(
            "`{name}` must run in its own process, and nothing in this program can start one: depend on `fleche-exec`, \
             name it (`use fleche_exec as _;`), and call `fleche_exec::init()` at the beginning of `main`"
        ))
    };
    let directory = PrivateDirectory::create().unwrap_or_else(|why| refuse(why));
    let (task, job) = Task::of_call(body);
    if let Err(refused) = (isolator.run)(task, directory.path(), assigned_gpus()) {
        refused.task.fail(refused.why);
    }
    let error = match job.result_of_work() {
        Ok(result) => return result,
        Err(error) => error,
    };
    if isolation.keep_on_panic && matches!(error, JobError::Panicked { .. } | JobError::WorkerLost { .. }) {
        directory.keep();
    } else {
        drop(directory);
    }
    match error {
        // The panic hook of the other process has printed it.
        JobError::Panicked { message, location } => CaughtPanic::from_elsewhere(message, location).go_on(),
        JobError::Rejected { why } => refuse(why),
        lost => panic!("the isolated call of `{name}` failed: {lost}"),
    }
}
