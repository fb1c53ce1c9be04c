//! The errors of redb stores: redb's message, the file's path, and what to do.

use std::{
    any::Any,
    io::ErrorKind,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use fleche_core::{CallKey, Error, Result};

/// Runs an operation of redb. A panic, which damaged pages may cause, becomes an error.
pub(crate) fn catch_panic<T>(run: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, redb::Error> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Err(redb::Error::Corrupted(message(&*panic))))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "redb panicked".to_owned())
}

/// Returns whether this error comes from damage to the file: tables are missing or have another type although nothing
/// has changed them, or the file ends where pages should be.
pub(crate) fn is_damage(error: &redb::Error) -> bool {
    match error {
        redb::Error::Corrupted(_)
        | redb::Error::TableDoesNotExist(_)
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TableIsMultimap(_)
        | redb::Error::TypeDefinitionChanged { .. } => true,
        redb::Error::Io(error) => matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::InvalidData),
        _ => false,
    }
}

/// Returns whether redb refuses to read and write until the file is reopened, as it does after an error of the
/// operating system.
pub(crate) fn needs_reopen(error: &redb::Error) -> bool {
    matches!(error, redb::Error::Io(_) | redb::Error::PreviousIo)
}

/// Converts redb's error from an operation on an open database.
pub(crate) fn backend(path: &Path, error: &redb::Error) -> Error {
    let cure = match error {
        error if is_damage(error) => {
            "; the file is damaged: the next commit keeps the results that can be read, the others are computed again; if this \
             persists, move the file away or restore it from a copy"
        }
        redb::Error::PreviousIo => {
            "; the file is reopened within a second, or repaired within a minute if it is damaged; if that fails, the log says \
             why"
        }
        _ => "",
    };
    Error::backend(name(path))(format!("{error}{cure}"))
}

/// Converts redb's error from opening the file.
pub(crate) fn opening(path: &Path, error: redb::Error) -> Error {
    let config = |why: String| Error::Config { place: format!("`{}`", path.display()), why };
    match error {
        redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => config(
            "another process has this redb database open, and a process that writes to it must be the only one \
             (Reach::Exclusive): close it there, use a file or sql store, or use a process pool, whose workers access \
             the store of their parent process"
                .to_owned(),
        ),
        // redb does not repair a database that it opens for reading only.
        redb::Error::RepairAborted => config(
            "this redb database was not closed, and it cannot be repaired since this user may not write to it: have a user who \
             may write open it once, or copy the file and open the copy"
                .to_owned(),
        ),
        redb::Error::Io(error) if error.kind() == ErrorKind::InvalidData => {
            config(format!("this is not a redb database ({error}): give the store a file of its own"))
        }
        redb::Error::Io(source) => Error::io("open the redb database", path)(source),
        redb::Error::Corrupted(why) => config(format!(
            "this redb database is damaged ({why}): move the file away to compute its results again, or restore \
             it from a copy"
        )),
        other => config(format!("this redb database cannot be opened: {other}")),
    }
}

/// Returns the error for a file that does not hold a store of this crate.
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

/// Returns the error for a write to a file that this user may only read.
pub(crate) fn read_only(path: &Path) -> Error {
    Error::Refused { store: format!("{}, which this user may only read,", name(path)), operation: "write" }
}

fn name(path: &Path) -> String {
    format!("the redb database `{}`", path.display())
}
