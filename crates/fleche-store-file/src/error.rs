//! The errors that file stores make themselves; whatever the system refuses is an [`Error::Io`] with the entry's path.

use std::{io, path::Path};

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

/// A record would replace one that only a later version of fleche can read.
pub(crate) fn later_format(root: &Path, key: &CallKey) -> Error {
    Error::Refused {
        store: format!("the file store `{}`, which has call {key} in a later format,", root.display()),
        operation: "replace a record that it cannot read",
    }
}
