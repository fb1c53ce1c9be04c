//! The one error that a memory store has of its own.

use fleche_core::{Digest, Error};

/// What was put is not what its reader wanted.
pub(crate) fn damaged(id: &Digest, why: String) -> Error {
    Error::Damaged { entry: format!("value {id} in memory"), why }
}
