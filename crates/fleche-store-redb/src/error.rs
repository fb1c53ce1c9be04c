//! The errors of redb stores: what redb says, with the file's path and the cure.

use std::{
    any::Any,
    io::ErrorKind,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use fleche_core::{CallKey, Error, Result};

/// Runs what calls redb. A panic, to which damaged pages may lead it, becomes an error.
pub(crate) fn caught<T>(run: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, redb::Error> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Err(redb::Error::Corrupted(message(&*panic))))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "redb panicked".to_owned())
}

/// Whether this comes of damage to the file: redb finds tables neither gone nor changed that nobody has touched, and no end
/// where pages should be.
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

/// Whether redb may read and write nothing more before the file is opened anew: after an error of the system's.
pub(crate) fn is_shut(error: &redb::Error) -> bool {
    matches!(error, redb::Error::Io(_) | redb::Error::PreviousIo)
}

/// What redb said about an open database.
pub(crate) fn backend(path: &Path, error: &redb::Error) -> Error {
    let cure = match error {
        error if is_damage(error) => {
            "; the file is damaged: the next commit keeps what of it can be read, the rest is computed again; if this goes on, \
             move it away, or restore it from a copy"
        }
        redb::Error::PreviousIo => {
            "; the file is opened anew within a second, or healed within a minute if it is damaged; the log says what keeps it from \
             that"
        }
        _ => "",
    };
    Error::backend(name(path))(format!("{error}{cure}"))
}

/// What redb said when the file was to be opened.
pub(crate) fn opening(path: &Path, error: redb::Error) -> Error {
    let config = |why: String| Error::Config { place: format!("`{}`", path.display()), why };
    match error {
        redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => config(
            "another process holds this redb database, and such a store reaches one process at a time \
             (Reach::Exclusive): close it there, take a file or sql store, or use a process pool, whose workers reach \
             their parent's store"
                .to_owned(),
        ),
        redb::Error::Io(error) if error.kind() == ErrorKind::InvalidData => {
            config(format!("this is no redb database ({error}): give the store a file of its own"))
        }
        redb::Error::Io(source) => Error::io("open the redb database", path)(source),
        redb::Error::Corrupted(why) => config(format!(
            "this redb database is damaged ({why}): move the file away, and what was in it is computed again, or restore \
             it from a copy"
        )),
        other => config(format!("this redb database cannot be opened: {other}")),
    }
}

/// The file has something else in it than a store of ours.
pub(crate) fn foreign(path: &Path, why: &str) -> Error {
    Error::Config { place: format!("`{}`", path.display()), why: why.to_owned() }
}

/// The entry does not hold what it claims to hold; `fate` says where it is now.
pub(crate) fn damaged(path: &Path, entry: &str, why: &str, fate: &str) -> Error {
    Error::Damaged { entry: format!("{entry} in {}", name(path)), why: format!("{why}; {fate}") }
}

/// A record would replace one that only a later version of fleche can read.
pub(crate) fn later_format(path: &Path, key: &CallKey) -> Error {
    Error::Refused {
        store: format!("{}, which has call {key} in a later format,", name(path)),
        operation: "replace a record that it cannot read",
    }
}

fn name(path: &Path) -> String {
    format!("the redb database `{}`", path.display())
}
