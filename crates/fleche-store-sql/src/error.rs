//! The errors that SQL stores make, and what those of databases become.

use std::fmt::{self, Display};

use fleche_core::{CallKey, Error};
use sqlx::{error::DatabaseError, sqlite::SqliteError};

use crate::DatabaseUrl;

/// What made an operation on a database fail.
pub(crate) enum Failed {
    /// What the database said, or the connection to it.
    Sql(sqlx::Error),
    Other(Error),
}

impl Failed {
    /// Whether a file of SQLite is damaged, or is none: not one entry, but what leads to all of them.
    pub(crate) fn is_damage(&self) -> bool {
        // SQLITE_CORRUPT and SQLITE_NOTADB.
        matches!(self.code(), Some(11 | 26))
    }

    /// Whether damage to the header or to the definitions of tables may be the reason.
    pub(crate) fn may_be_damage(&self) -> bool {
        // SQLITE_ERROR, of a column that there is not, say, and SQLITE_READONLY.
        self.is_damage() || matches!(self.code(), Some(1 | 8))
    }

    /// The number of an error of SQLite, whatever the reason: the lowest byte of an extended one.
    fn code(&self) -> Option<u32> {
        let Self::Sql(error) = self else { return None };
        let error = error.as_database_error()?.try_downcast_ref::<SqliteError>()?;
        Some(error.code()?.parse::<u32>().ok()? & 0xff)
    }

    /// Returns whether the user has no right to what was tried.
    pub(crate) fn is_denied(&self) -> bool {
        // SQLITE_READONLY; insufficient privilege and a read-only transaction: appendix A of PostgreSQL's manual.
        let code =
            if let Self::Sql(error) = self { error.as_database_error().and_then(DatabaseError::code) } else { None };
        self.code() == Some(8) || matches!(code.as_deref(), Some("42501" | "25006"))
    }

    /// The error of opening a server whose URL comes from the environment: what a server says may repeat parts of it.
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

/// What a database said, or the connection to it.
pub(crate) fn backend(store: &str) -> impl FnOnce(sqlx::Error) -> Error {
    move |error| {
        let failed = Failed::Sql(error);
        match failed {
            failed if failed.is_damage() => Error::backend(store)(format!(
                "{failed}; the file is damaged or is none of SQLite: `sqlite3 FILE .recover` gets out of it what is left"
            )),
            // The kind distinguishes timeouts from other errors.
            Failed::Sql(sqlx::Error::Io(error)) => Error::backend(store)(error),
            Failed::Sql(error) => Error::backend(store)(error),
            Failed::Other(error) => error,
        }
    }
}

/// A damaged file is not healed because of `why`.
pub(crate) fn beyond_healing(store: &str, failed: &Failed, why: &str) -> Error {
    Error::backend(store)(format!(
        "{failed}; the file is damaged and cannot be healed: {why}; `sqlite3 FILE .recover` gets out of it what is left"
    ))
}

/// What a configuration gets wrong.
pub(crate) fn config(place: impl Display, why: impl Into<String>) -> Error {
    Error::Config { place: place.to_string(), why: why.into() }
}

/// The entry does not hold what it claims to hold; `fate` says where it is now.
pub(crate) fn damaged(store: &str, entry: impl Display, why: &str, fate: impl Display) -> Error {
    Error::Damaged { entry: format!("{entry} in {store}"), why: format!("{why}; {fate}") }
}

/// The error of an operation that needs rights which this user does not have.
pub(crate) fn read_only(store: &str) -> Error {
    Error::Refused { store: format!("{store}, which this user may only read,"), operation: "change" }
}

/// The error without the path, which comes from the environment variable that this URL names.
pub(crate) fn without_path(error: Error, url: &DatabaseUrl) -> Error {
    match error {
        Error::Io { action, source, .. } => {
            Error::Io { action, path: url.to_string().into(), source: source.kind().into() }
        }
        other => other,
    }
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
