//! The errors that SQL stores make, and what those of databases become.

use std::fmt::Display;

use fleche_core::{CallKey, Error};

/// What a database said, or the connection to it.
pub(crate) fn backend(store: &str) -> impl FnOnce(sqlx::Error) -> Error {
    move |error| match error.as_database_error().and_then(sqlx::error::DatabaseError::code).as_deref() {
        // SQLITE_CORRUPT and SQLITE_NOTADB: not one entry is damaged, but what leads to all of them.
        Some("11" | "26" | "267" | "523" | "779") => Error::backend(store)(format!(
            "{error}; the file is damaged or is none of SQLite: `sqlite3 FILE .recover` gets out of it what is left"
        )),
        _ => Error::backend(store)(error),
    }
}

/// What a configuration gets wrong.
pub(crate) fn config(place: impl Display, why: impl Into<String>) -> Error {
    Error::Config { place: place.to_string(), why: why.into() }
}

/// The entry does not hold what it claims to hold; `fate` says where it is now.
pub(crate) fn damaged(store: &str, entry: impl Display, why: &str, fate: impl Display) -> Error {
    Error::Damaged { entry: format!("{entry} in {store}"), why: format!("{why}; {fate}") }
}

/// A value that no row can hold.
pub(crate) fn too_large(store: &str, length: usize) -> Error {
    Error::Refused {
        store: store.to_owned(),
        operation: if length > 1 << 30 {
            "keep a value of more than 1 GB: a row cannot hold it; use a file store"
        } else {
            "keep a value of nearly 1 GB: a row cannot hold it; use a file store"
        },
    }
}

/// A record would replace one that only a later version of fleche can read.
pub(crate) fn later_format(store: &str, key: &CallKey) -> Error {
    Error::Refused {
        store: format!("{store}, which has call {key} in a later format,"),
        operation: "replace a record that it cannot read",
    }
}
