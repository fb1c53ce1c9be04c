//! The errors of sled stores: sled's message, the directory's path, and what to do.

use std::{
    io::{self, ErrorKind},
    path::Path,
};

use fleche_core::{
    Error,
    store::kit::{StoreName, catch_engine_panic},
};

/// Runs an operation of sled. A panic, which damaged files may cause, becomes an error.
pub(crate) fn catch_panic<T>(run: impl FnOnce() -> sled::Result<T>) -> sled::Result<T> {
    catch_engine_panic(run, sled::Error::ReportableBug)
}

/// Returns the error of an operation after a failed write.
pub(crate) fn failed(name: &StoreName, failure: &str) -> Error {
    name.backend()(format!(
        "a write failed earlier ({failure}), and sled may block for ever after that, so this process records nothing more in \
         it: free space on the disk or raise the limit on the size of files (`ulimit -f`), and start the program again"
    ))
}

/// Returns the error for a write that sled neither finishes nor reports as failed.
pub(crate) fn blocked(name: &StoreName) -> Error {
    name.backend()(
        "sled does not finish writing to the disk: check the disk's space and errors, and start the program again",
    )
}

/// Returns the error for a directory that sled could not close in this process.
pub(crate) fn unclosed(name: &StoreName) -> Error {
    name.config(
        "a write to this sled database failed earlier in this process, and sled keeps it locked until the process ends: free \
         space on the disk or raise the limit on the size of files (`ulimit -f`), and start the program again",
    )
}

/// Converts sled's error from opening the directory.
pub(crate) fn opening(name: &StoreName, path: &Path, error: sled::Error) -> Error {
    match error {
        sled::Error::Io(error) if is_locked(&error) => name.held_by_another_process(),
        sled::Error::Io(source) => Error::io("open the sled database", path)(source),
        other => name.config(format!(
            "this is not a sled database, or a damaged one ({other}): give the store a directory of its own, or move this \
             one away; the results in it are computed again"
        )),
    }
}

/// Returns whether sled did not open the directory because it is open already.
pub(crate) fn is_locked(error: &io::Error) -> bool {
    error.kind() == ErrorKind::Other && error.to_string().contains("lock")
}
