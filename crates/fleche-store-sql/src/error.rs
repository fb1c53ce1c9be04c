//! The errors of SQL stores, and the conversion of database errors.

use std::fmt::{self, Display};

use fleche_core::{CallKey, Error};
use sqlx::{error::DatabaseError, sqlite::SqliteError};

/// The reason for which an operation on a database failed.
pub(crate) enum Failed {
    /// An error of the database or of the connection to it.
    Sql(sqlx::Error),
    Other(Error),
}

impl Failed {
    /// Returns whether a SQLite file as a whole is damaged or is not a SQLite file, as opposed to a single damaged
    /// entry.
    pub(crate) fn is_damage(&self) -> bool {
        // SQLITE_CORRUPT and SQLITE_NOTADB.
        matches!(self.code(), Some(11 | 26))
    }

    /// Returns whether damage to the header or to the definitions of tables may be the reason.
    pub(crate) fn may_be_damage(&self) -> bool {
        // SQLITE_ERROR, for example for a missing column, and SQLITE_READONLY.
        self.is_damage() || matches!(self.code(), Some(1 | 8))
    }

    /// Returns the primary error code of SQLite, if this is an error of SQLite: the lowest byte of an extended code.
    fn code(&self) -> Option<u32> {
        let Self::Sql(error) = self else { return None };
        let error = error.as_database_error()?.try_downcast_ref::<SqliteError>()?;
        Some(error.code()?.parse::<u32>().ok()? & 0xff)
    }

    /// Returns whether the user lacks permission for the operation.
    pub(crate) fn is_denied(&self) -> bool {
        // SQLITE_READONLY; insufficient privilege and a read-only transaction: appendix A of PostgreSQL's manual.
        let code =
            if let Self::Sql(error) = self { error.as_database_error().and_then(DatabaseError::code) } else { None };
        self.code() == Some(8) || matches!(code.as_deref(), Some("42501" | "25006"))
    }

    /// Returns the error for opening a server whose URL comes from the environment. It omits the server's message, which
    /// may repeat parts of the URL.
    pub(crate) fn without_details(self, store: &str) -> Error {
        let hidden = "details are not shown, since the URL comes from the environment";
        match self {
            Self::Sql(sqlx::Error::Io(error)) => Error::backend(store)(std::io::Error::from(error.kind())),
            Self::Sql(sqlx::Error::Database(error)) => {
                let code = error.code().unwrap_or_default().into_owned();
                Error::backend(store)(format!("the server refused with the code {code}; {hidden}"))
            }
            Self::Sql(_) => Error::backend(store)(format!("it cannot be opened; {hidden}")),
            Self::Other(error) => error,
        }
    }

    pub(crate) fn into_error(self, store: &str) -> Error {
        match self {
            Self::Sql(error) => backend(store)(error),
            Self::Other(error) => error,
        }
    }
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sql(error) => error.fmt(f),
            Self::Other(error) => error.fmt(f),
        }
    }
}

/// Returns a function that converts an error of the database or of the connection to it, for `map_err`.
pub(crate) fn backend(store: &str) -> impl FnOnce(sqlx::Error) -> Error {
    move |error| {
        let failed = Failed::Sql(error);
        match failed {
            failed if failed.is_damage() => Error::backend(store)(format!(
                "{failed}; the file is damaged or not a SQLite database: `sqlite3 FILE .recover` extracts what can be read"
            )),
            // The kind distinguishes timeouts from other errors.
            Failed::Sql(sqlx::Error::Io(error)) => Error::backend(store)(error),
            Failed::Sql(error) => Error::backend(store)(error),
            Failed::Other(error) => error,
        }
    }
}

/// Returns the error for a damaged file that cannot be repaired because of `why`.
pub(crate) fn beyond_repair(store: &str, failed: &Failed, why: &str) -> Error {
    Error::backend(store)(format!(
        "{failed}; the file is damaged and cannot be repaired: {why}; `sqlite3 FILE .recover` extracts what can be read"
    ))
}

/// Returns the error for a configuration.
pub(crate) fn config(place: impl Display, why: impl Into<String>) -> Error {
    Error::Config { place: place.to_string(), why: why.into() }
}

/// Returns the error for an entry that fails verification; `fate` says where the entry is now.
pub(crate) fn damaged(store: &str, entry: impl Display, why: &str, fate: impl Display) -> Error {
    Error::Damaged { entry: format!("{entry} in {store}"), why: format!("{why}; {fate}") }
}

/// Returns the error for an operation for which this user lacks permission.
pub(crate) fn read_only(store: &str) -> Error {
    Error::Refused { store: format!("{store}, which this user may only read,"), operation: "accept changes" }
}

/// Returns the error for a value that does not fit into a row.
pub(crate) fn too_large(store: &str, length: usize) -> Error {
    Error::Refused {
        store: store.to_owned(),
        operation: if length > 1 << 30 {
            "store values of more than 1 GB, which do not fit into a row; use a file store"
        } else {
            "store values of nearly 1 GB, which do not fit into a row; use a file store"
        },
    }
}

/// Returns the error for a record that would replace one that only a later version of fleche can read.
pub(crate) fn later_format(store: &str, key: &CallKey) -> Error {
    Error::Refused {
        store: format!("{store} (call {key})"),
        operation: "replace a record of a later format, which this version of fleche cannot read",
    }
}
