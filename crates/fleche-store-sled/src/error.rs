//! The errors of sled stores: sled's message, the directory's path, and what to do.

use std::{
    any::Any,
    io::{self, ErrorKind},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use fleche_core::{CallKey, Error};

/// Runs an operation of sled. A panic, which damaged files may cause, becomes an error.
pub(crate) fn catch_panic<T>(run: impl FnOnce() -> sled::Result<T>) -> sled::Result<T> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Err(sled::Error::ReportableBug(message(&*panic))))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "sled panicked".to_owned())
}

/// Converts sled's error from an operation on an open database.
pub(crate) fn backend(path: &Path, error: &sled::Error) -> Error {
    Error::backend(name(path))(error.to_string())
}

/// Returns the error of an operation after a failed write.
pub(crate) fn failed(path: &Path, failure: &str) -> Error {
    Error::backend(name(path))(format!(
        "a write failed earlier ({failure}), and sled may block for ever after that, so this process records nothing more in \
         it: free space on the disk or raise the limit on the size of files (`ulimit -f`), and start the program again"
    ))
}

/// Returns the error for a write that sled neither finishes nor reports as failed.
pub(crate) fn blocked(path: &Path) -> Error {
    Error::backend(name(path))(
        "sled does not finish writing to the disk: check the disk's space and errors, and start the program again"
            .to_owned(),
    )
}

/// Returns the error for a directory that sled could not close in this process.
pub(crate) fn unclosed(path: &Path) -> Error {
    let why = "a write to this sled database failed earlier in this process, and sled keeps it locked until the process ends: free \
               space on the disk or raise the limit on the size of files (`ulimit -f`), and start the program again";
    Error::Config { place: format!("`{}`", path.display()), why: why.to_owned() }
}

/// Converts sled's error from opening the directory.
pub(crate) fn opening(path: &Path, error: sled::Error) -> Error {
    let config = |why: String| Error::Config { place: format!("`{}`", path.display()), why };
    match error {
        sled::Error::Io(error) if is_locked(&error) => config(
            "another process has this sled database open, and only one process at a time can (Reach::Exclusive): \
             close it there, use a file or sql store, or use a process pool, whose workers access the store of their \
             parent process"
                .to_owned(),
        ),
        sled::Error::Io(source) => Error::io("open the sled database", path)(source),
        other => config(format!(
            "this is not a sled database, or a damaged one ({other}): give the store a directory of its own, or move this \
             one away; the results in it are computed again"
        )),
    }
}

/// Returns whether sled did not open the directory because it is open already.
pub(crate) fn is_locked(error: &io::Error) -> bool {
    error.kind() == ErrorKind::Other && error.to_string().contains("lock")
}

/// Returns the error for a directory in which this user may not write to `part`.
pub(crate) fn read_only(path: &Path, part: &Path) -> Error {
    let why = format!(
        "this user may not write to `{}`, and sled cannot open a database without writing to it: get the right to write, or copy \
         the directory and open the copy",
        part.display()
    );
    Error::Config { place: format!("`{}`", path.display()), why }
}

/// Returns the error for a directory that does not hold a store of this crate.
pub(crate) fn foreign(path: &Path, why: &str) -> Error {
    Error::Config { place: format!("`{}`", path.display()), why: why.to_owned() }
}

/// Returns the error for an entry that fails verification; `fate` says where the entry is now.
pub(crate) fn damaged(path: &Path, entry: &str, why: &str, fate: &str) -> Error {
    Error::Damaged { entry: format!("{entry} in {}", name(path)), why: format!("{why}; {fate}") }
}

/// Returns the error for a record that would replace one that only a later version of fleche can read.
pub(crate) fn later_format(path: &Path, key: &CallKey) -> Error {
    Error::Refused {
        store: format!("{} (call {key})", name(path)),
        operation: "replace a record of a later format, which this version of fleche cannot read",
    }
}

fn name(path: &Path) -> String {
    format!("the sled database `{}`", path.display())
}
