//! The errors of redb stores: redb's message, the file's path, and what to do.

use std::{io::ErrorKind, path::Path};

use fleche_core::{
    Error, Result,
    store::kit::{StoreName, catch_engine_panic},
};

/// Runs an operation of redb. A panic, which damaged pages may cause, becomes an error.
pub(crate) fn catch_panic<T>(run: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, redb::Error> {
    catch_engine_panic(run, redb::Error::Corrupted)
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
pub(crate) fn backend(name: &StoreName, error: &redb::Error) -> Error {
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
    name.backend()(format!("{error}{cure}"))
}

/// Converts redb's error from opening the file.
pub(crate) fn opening(name: &StoreName, path: &Path, error: redb::Error) -> Error {
    match error {
        redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => name.held_by_another_process(),
        // redb does not repair a database that it opens for reading only.
        redb::Error::RepairAborted => name.config(
            "this redb database was not closed, and it cannot be repaired since this user may not write to it: have a user who \
             may write open it once, or copy the file and open the copy",
        ),
        redb::Error::Io(error) if error.kind() == ErrorKind::InvalidData => {
            name.config(format!("this is not a redb database ({error}): give the store a file of its own"))
        }
        redb::Error::Io(source) => Error::io("open the redb database", path)(source),
        redb::Error::Corrupted(why) => name.config(format!(
            "this redb database is damaged ({why}): move the file away to compute its results again, or restore \
             it from a copy"
        )),
        other => name.config(format!("this redb database cannot be opened: {other}")),
    }
}
