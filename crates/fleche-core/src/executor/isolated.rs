//! Isolated calls in processes of their own: an executor's crate runs them, since core starts none.

use std::{path::Path, sync::Arc};

use super::{SubmitError, Task};
use crate::{
    bound::BoundCall,
    context::assigned_gpus,
    isolate::{Isolation, PrivateDirectory, refuse},
    job::JobError,
    panics::Carried,
};

/// What runs isolated calls in other processes; a crate of executors submits one.
#[derive(Debug)]
pub struct Isolator {
    /// Runs the task at once, in a process that runs nothing else meanwhile and whose working directory this is, with
    /// these GPUs [assigned](super::assigned_gpus); or gives it back with the reason.
    pub run: Isolate,
}

/// See [`Isolator::run`].
pub type Isolate = fn(Task, &Path, Arc<[u32]>) -> Result<(), SubmitError>;

inventory::collect!(Isolator);

/// Registers what runs isolated calls in other processes: the fields of an
/// [`Isolator`](crate::executor::Isolator).
#[macro_export]
macro_rules! register_isolator {
    ($($field:ident : $value:expr),* $(,)?) => {
        $crate::__private::inventory::submit! {
            $crate::executor::Isolator { $($field: $value),* }
        }
    };
}

/// Runs a bound body in another process, in a new directory that is the process's working directory meanwhile. The
/// directory is removed when the body has ended. A panic goes on here, with its message.
///
/// # Panics
/// Besides panics of the body: where the process is lost; where there is no such process, or the call cannot go there,
/// and then its body has not run.
pub fn isolate_in_process<R: 'static>(isolation: Isolation, body: BoundCall<R>) -> R {
    let name = body.function.name();
    let Some(isolator) = inventory::iter::<Isolator>().next() else {
        refuse(format_args!(
            "`{name}` is to run in a process of its own, and nothing in this program starts one: depend on `fleche-exec`, \
             name it (`use fleche_exec as _;`), and call `fleche_exec::init()` first of all in `main`"
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
        // The hook of the other process has printed it.
        JobError::Panicked { message, location } => Carried::from_elsewhere(message, location).go_on(),
        JobError::Rejected { why } => refuse(why),
        lost => panic!("the isolated call of `{name}` came to nothing: {lost}"),
    }
}
