//! The errors of sled stores: what sled says, with the directory's path and the cure.

use std::{
    any::Any,
    io::ErrorKind,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use fleche_core::{CallKey, Error};

/// Runs what calls sled. A panic, to which damage may lead it, becomes an error.
pub(crate) fn caught<T>(run: impl FnOnce() -> sled::Result<T>) -> sled::Result<T> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Err(sled::Error::ReportableBug(message(&*panic))))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "sled panicked".to_owned())
}

/// What sled said about an open database.
pub(crate) fn backend(path: &Path, error: &sled::Error) -> Error {
    Error::backend(name(path))(error.to_string())
}

/// What sled said when the directory was to be opened.
pub(crate) fn opening(path: &Path, error: sled::Error) -> Error {
    let config = |why: String| Error::Config { place: format!("`{}`", path.display()), why };
    match error {
        // So it says of the lock of another process, and of nothing else.
        sled::Error::Io(error) if error.kind() == ErrorKind::Other && error.to_string().contains("lock") => config(
            "another process holds this sled database, and such a store reaches one process at a time \
             (Reach::Exclusive): close it there, take a file or sql store, or use a process pool, whose workers reach \
             their parent's store"
                .to_owned(),
        ),
        sled::Error::Io(source) => Error::io("open the sled database", path)(source),
        other => config(format!(
            "this is no sled database, or one that is damaged ({other}): give the store a directory of its own, or move \
             this one away, and what was in it is computed again"
        )),
    }
}

/// The directory has something else in it than a store of ours.
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
    format!("the sled database `{}`", path.display())
}
