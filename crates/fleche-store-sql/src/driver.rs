//! `Driver`: an open database of either kind.

use std::time::Duration;

use crate::{
    error::DbError,
    limit::Timeout,
    postgres::Client,
    row::Row,
    sqlite::pool::Pool,
    statement::{Dialect, Statement},
};

/// The connections to a database. Each operation is atomic, and ends within the timeout.
pub(crate) enum Driver {
    Sqlite(Pool),
    Postgres(Client),
}

impl Driver {
    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Returns whether this is a file that can only be read.
    pub(crate) fn is_read_only_file(&self) -> bool {
        match self {
            Self::Sqlite(pool) => pool.is_read_only(),
            Self::Postgres(_) => false,
        }
    }

    fn timeouts(&self) -> &Timeout {
        match self {
            Self::Sqlite(pool) => &pool.timeout,
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
            Self::Sqlite(pool) => pool.read(statement, map),
            Self::Postgres(client) => client.read(statement, map),
        }
    }

    /// Runs the statements in one transaction. Returns the numbers in the first column of the rows of the last one.
    pub(crate) fn write(&self, statements: &[Statement<'_>]) -> Result<Vec<i64>, DbError> {
        match self {
            Self::Sqlite(pool) => pool.write(statements),
            Self::Postgres(client) => client.write(statements),
        }
    }

    /// Returns once all earlier writes are on disk, as far as the database can tell.
    pub(crate) fn sync(&self) -> Result<(), DbError> {
        match self {
            Self::Sqlite(pool) => pool.sync(),
            Self::Postgres(_) => Ok(()),
        }
    }
}
