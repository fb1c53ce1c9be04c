//! The errors of SQL stores, and the conversion of database errors.

use std::{
    error,
    fmt::{self, Display},
    io,
};

use fleche_core::{Error, store::kit::StoreName};
#[cfg(feature = "sqlite")]
use rusqlite::ErrorCode;

/// The reason for which an operation on a database failed.
#[derive(Debug)]
pub(crate) enum DbError {
    #[cfg(feature = "sqlite")]
    Sqlite(rusqlite::Error),
    #[cfg(feature = "postgres")]
    Postgres(tokio_postgres::Error),
    /// The operation took too long, or the connection was lost.
    Io(io::Error),
    Other(Error),
}

#[cfg(feature = "sqlite")]
impl DbError {
    /// Returns whether a SQLite file as a whole is damaged or is not a SQLite file, as opposed to a single damaged
    /// entry.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(self.sqlite_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
    }

    /// Returns whether damage to the header or to the definitions of tables may be the reason.
    pub(crate) fn may_be_damage(&self) -> bool {
        // SQLITE_ERROR is the code, for example, for a missing column.
        self.is_damage() || matches!(self.sqlite_code(), Some(ErrorCode::Unknown | ErrorCode::ReadOnly))
    }

    fn sqlite_code(&self) -> Option<ErrorCode> {
        if let Self::Sqlite(error) = self { sqlite_code(error) } else { None }
    }

    /// Returns the error for a damaged file that cannot be repaired because of `why`.
    pub(crate) fn beyond_repair(self, store: &StoreName, why: &str) -> Self {
        Self::Other(store.backend()(DamagedFile { why: Some(why.to_owned()), source: self }))
    }
}

#[cfg(feature = "postgres")]
impl DbError {
    /// Returns the code of an error that the server reported: appendix A of PostgreSQL's manual.
    fn server_code(&self) -> Option<&str> {
        if let Self::Postgres(error) = self { Some(error.code()?.code()) } else { None }
    }

    /// Returns whether the connection to a server was lost.
    pub(crate) fn is_lost(&self) -> bool {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
        let kinds = [BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof];
        let Self::Postgres(error) = self else { return false };
        // A server that shuts down reports this before it closes the connection.
        error.is_closed()
            || io_error(error).is_some_and(|error| kinds.contains(&error.kind()))
            || matches!(self.server_code(), Some("57P01" | "57P02"))
    }

    /// Returns the error for opening a server whose URL comes from the environment. It omits the server's message, which
    /// may repeat parts of the URL.
    pub(crate) fn without_details(self, store: &StoreName) -> Error {
        let hidden = "details are not shown, since the URL comes from the environment";
        let kind = match &self {
            Self::Io(error) => Some(error.kind()),
            Self::Postgres(error) => io_error(error).map(io::Error::kind),
            _ => None,
        };
        match self {
            Self::Other(error) => error,
            error => match (kind, error.server_code()) {
                (Some(kind), _) => store.backend()(io::Error::from(kind)),
                (_, Some(code)) => store.backend()(format!("the server refused with the code {code}; {hidden}")),
                _ => store.backend()(format!("it cannot be opened; {hidden}")),
            },
        }
    }
}

#[cfg(feature = "postgres")]
fn io_error(error: &tokio_postgres::Error) -> Option<&io::Error> {
    error::Error::source(error)?.downcast_ref()
}

impl DbError {
    /// Returns whether the user lacks permission for the operation.
    pub(crate) fn is_denied(&self) -> bool {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(error) => sqlite_code(error) == Some(ErrorCode::ReadOnly),
            // Insufficient privilege, and a read-only transaction.
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => matches!(self.server_code(), Some("42501" | "25006")),
            Self::Io(_) | Self::Other(_) => false,
        }
    }

    /// Returns whether the operation may succeed if it is tried again soon.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(error) => {
                matches!(sqlite_code(error), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
            }
            // Serialization failure, deadlock, and a server that is starting. The server may also have restarted since
            // the connection was opened. If there is no server at all, waiting does not help: the caller proceeds
            // without the store.
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => matches!(self.server_code(), Some("40001" | "40P01" | "57P03")) || self.is_lost(),
            Self::Io(_) | Self::Other(_) => false,
        }
    }

    pub(crate) fn into_error(self, store: &StoreName) -> Error {
        match self {
            Self::Other(error) => error,
            // The kind distinguishes timeouts from other errors.
            Self::Io(error) => store.backend()(error),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) if self.is_damage() => store.backend()(DamagedFile { why: None, source: self }),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => store.backend()(self),
            // What the server or the system reports says more than the driver's classes of errors.
            #[cfg(feature = "postgres")]
            Self::Postgres(error) if error.as_db_error().is_some() || io_error(&error).is_some() => {
                store.backend()(error.into_source().unwrap_or_else(|| "unknown error".into()))
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(error) => store.backend()(error),
        }
    }

    /// Returns the error for unexpected content of a row.
    pub(crate) fn content(what: &'static str) -> Self {
        Self::Io(io::Error::new(io::ErrorKind::InvalidData, what))
    }
}

/// Returns the primary error code of SQLite.
#[cfg(feature = "sqlite")]
pub(crate) fn sqlite_code(error: &rusqlite::Error) -> Option<ErrorCode> {
    match error {
        rusqlite::Error::SqliteFailure(error, _) | rusqlite::Error::SqlInputError { error, .. } => Some(error.code),
        _ => None,
    }
}

impl Display for DbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(error) => error.fmt(f),
            #[cfg(feature = "postgres")]
            Self::Postgres(error) => match error.as_db_error() {
                Some(error) => error.fmt(f),
                None => error.fmt(f),
            },
            Self::Io(error) => error.fmt(f),
            Self::Other(error) => error.fmt(f),
        }
    }
}

impl error::Error for DbError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            // Its message already contains what its cause says.
            #[cfg(feature = "sqlite")]
            Self::Sqlite(rusqlite::Error::SqliteFailure(_, Some(_))) => None,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(error) => error.source(),
            #[cfg(feature = "postgres")]
            Self::Postgres(error) => error.source(),
            Self::Io(error) => error.source(),
            Self::Other(error) => error.source(),
        }
    }
}

#[cfg(feature = "sqlite")]
impl From<rusqlite::Error> for DbError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

#[cfg(feature = "postgres")]
impl From<tokio_postgres::Error> for DbError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error)
    }
}

impl From<Error> for DbError {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// The error of a damaged file that was not repaired.
#[cfg(feature = "sqlite")]
#[derive(Debug)]
struct DamagedFile {
    /// The reason for which it cannot be repaired, unless it belongs to another program.
    why: Option<String>,
    source: DbError,
}

#[cfg(feature = "sqlite")]
impl Display for DamagedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            Some(why) => write!(f, "the file is damaged and cannot be repaired: {why}")?,
            None => f.write_str("the file is damaged or not a SQLite database")?,
        }
        f.write_str("; `sqlite3 FILE .recover` extracts what can be read")
    }
}

#[cfg(feature = "sqlite")]
impl error::Error for DamagedFile {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Returns the error for a configuration.
pub(crate) fn config(place: impl Display, why: impl Into<String>) -> Error {
    Error::Config { place: place.to_string(), why: why.into() }
}

/// Returns the error for a value that does not fit into a row.
pub(crate) fn too_large(store: &StoreName, length: usize) -> Error {
    store.refused(if length > 1 << 30 {
        "store values of more than 1 GB, which do not fit into a row; use a file store"
    } else {
        "store values of nearly 1 GB, which do not fit into a row; use a file store"
    })
}
