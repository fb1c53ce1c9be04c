//! The errors that file stores create. Errors of the operating system are [`Error::Io`] with the entry's path.

use std::{
    io::{self, ErrorKind},
    path::Path,
};

use fleche_core::Error;

/// Returns the error for an entry whose content does not match its name; `fate` says where the entry is now.
pub(crate) fn damaged(path: &Path, why: &str, fate: &str) -> Error {
    Error::Damaged { entry: format!("`{}`", path.display()), why: format!("{why}; {fate}") }
}

/// Returns the error for a directory, a pipe or another special file in the place of an entry's file.
pub(crate) fn not_a_file(action: &'static str, path: &Path) -> Error {
    Error::io(action, path)(io::Error::other("it is not a regular file"))
}

/// Returns the error for opening one directory both for values and for records.
pub(crate) fn other_kind(root: &Path, there: &str, wanted: &str) -> Error {
    Error::Config {
        place: format!("`{}`", root.display()),
        why: format!("this directory holds {there}; give {wanted} a directory of their own"),
    }
}

/// Returns the error for a file that is longer than an entry may be.
pub(crate) fn too_long(length: u64, max_len: u64) -> io::Error {
    io::Error::new(ErrorKind::FileTooLarge, format!("it has {length} bytes, more than the limit of {max_len}"))
}

/// Returns whether the error is that of [`too_long`].
pub(crate) fn is_too_long(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == ErrorKind::FileTooLarge)
}
