//! The one error that a memory store has of its own.

use fleche_core::{Digest, Error};

/// Bytes were offered under a digest that is not theirs.
pub(crate) fn wrong_digest(id: &Digest) -> Error {
    Error::Refused {
        store: format!("the memory store that was offered value {id}"),
        operation: "keep bytes whose digest is another",
    }
}
