//! `Driver`: an open database of either kind.

use std::time::Duration;

#[cfg(feature = "postgres")]
use crate::postgres::Client;
#[cfg(feature = "sqlite")]
use crate::sqlite::pool::Pool;
use crate::{
    error::DbError,
    limit::Timeout,
    row::Row,
    statement::{Dialect, Statement},
};

/// The connections to a database. Each operation is atomic, and ends within the timeout.
#[allow(clippy::large_enum_variant)] // There is one of each open database.
pub(crate) enum Driver {
    #[cfg(feature = "sqlite")]
    Sqlite(Pool),
    #[cfg(feature = "postgres")]
    Postgres(Client),
}

impl Driver {
    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => Dialect::Sqlite,
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Returns whether this is a file that can only be read.
    pub(crate) fn is_read_only_file(&self) -> bool {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(pool) => pool.is_read_only(),
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => false,
        }
    }

    fn timeouts(&self) -> &Timeout {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(pool) => &pool.timeout,
            #[cfg(feature = "postgres")]
            Self::Postgres(client) => &client.timeout,
        }
    }

    /// Returns the timeout of one operation.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeouts().get()
    }

    /// Lowers the timeout of later operations, if it is longer than this.
    pub(crate) fn shorten_timeout(&self, timeout: Duration) {
        self.timeouts().shorten(timeout);
    }

    /// Runs a statement that changes nothing, and returns what the function makes of its rows. The function may not use
    /// the database.
    pub(crate) fn read<T>(
        &self,
        statement: &Statement<'_>,
        map: impl FnMut(Row<'_>) -> Result<T, DbError>,
    ) -> Result<Vec<T>, DbError> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(pool) => pool.read(statement, map),
            #[cfg(feature = "postgres")]
            Self::Postgres(client) => client.read(statement, map),
        }
    }

    /// Runs the statements in one transaction. Returns the numbers in the first column of the rows of the last one.
    pub(crate) fn write(&self, statements: &[Statement<'_>]) -> Result<Vec<i64>, DbError> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(pool) => pool.write(statements),
            #[cfg(feature = "postgres")]
            Self::Postgres(client) => client.write(statements),
        }
    }

    /// Returns once all earlier writes are on disk, as far as the database can tell.
    pub(crate) fn sync(&self) -> Result<(), DbError> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(pool) => pool.sync(),
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => Ok(()),
        }
    }
}
