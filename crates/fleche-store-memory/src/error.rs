//! The only error that a memory store creates.

use fleche_core::{Digest, Error};

/// Returns the error for a value that fails the check of a read.
pub(crate) fn damaged(id: &Digest, why: String) -> Error {
    Error::Damaged { entry: format!("value {id} in memory"), why }
}
