//! The errors that file stores make themselves; whatever the system refuses is an [`Error::Io`] with the entry's path.

use std::{
    io::{self, ErrorKind},
    path::Path,
};

use fleche_core::{CallKey, Error};

/// The entry does not hold what it claims to hold; `fate` says where it is now.
pub(crate) fn damaged(path: &Path, why: &str, fate: &str) -> Error {
    Error::Damaged { entry: format!("`{}`", path.display()), why: format!("{why}; {fate}") }
}

/// Something else stands where an entry's file would be.
pub(crate) fn not_a_file(action: &'static str, path: &Path) -> Error {
    Error::io(action, path)(io::Error::other("it is not a regular file"))
}

/// Values and records were to share a directory.
pub(crate) fn other_kind(root: &Path, there: &str, wanted: &str) -> Error {
    Error::Config {
        place: format!("`{}`", root.display()),
        why: format!("this directory holds {there}; give {wanted} a directory of their own"),
    }
}

/// The error of a file that is longer than any entry.
pub(crate) fn too_long(length: u64, longest: u64) -> io::Error {
    io::Error::new(ErrorKind::FileTooLarge, format!("it has {length} bytes, and {longest} are read at most"))
}

/// Returns whether the error is [`too_long`].
pub(crate) fn is_too_long(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == ErrorKind::FileTooLarge)
}

/// A record that could not be read again.
pub(crate) fn long_record(root: &Path, key: &CallKey) -> Error {
    Error::Refused {
        store: format!("the file store `{}`, asked for call {key},", root.display()),
        operation: "keep a record of more than 64 MiB",
    }
}

/// A record would replace one that only a later version of fleche can read.
pub(crate) fn later_format(root: &Path, key: &CallKey) -> Error {
    Error::Refused {
        store: format!("the file store `{}`, which has call {key} in a later format,", root.display()),
        operation: "replace a record that it cannot read",
    }
}
