//! What other executor crates of this workspace need to start worker processes of the same program. There is no compatibility
//! between versions.

use std::ffi::OsStr;

use crate::process_pool;

/// An entry of worker programs: [`init`](crate::init) calls `run` if the environment variable is set.
/// Registered with [`register_worker_entry!`](crate::register_worker_entry).
#[derive(Debug)]
pub struct WorkerEntry {
    /// The name of the environment variable.
    pub variable: &'static str,
    /// Runs the worker and ends the process. The argument is the variable's value. Returns only if this process is no worker:
    /// programs that the body of a call starts inherit the variable.
    pub run: fn(&OsStr),
}

inventory::collect!(WorkerEntry);

/// Registers an entry of worker programs, with the fields of a [`WorkerEntry`](crate::spi::WorkerEntry).
#[doc(hidden)]
#[macro_export]
macro_rules! register_worker_entry {
    ($($field:ident : $value:expr),* $(,)?) => {
        $crate::__private::inventory::submit! {
            $crate::spi::WorkerEntry { $($field: $value),* }
        }
    };
}

/// Returns whether this program calls [`init`](crate::init), so that another process of it can become a worker.
pub fn is_initialised() -> bool {
    process_pool::is_initialised()
}

/// Returns the arguments with which this program starts as a worker.
pub fn worker_arguments() -> Vec<&'static str> {
    process_pool::worker_arguments()
}
