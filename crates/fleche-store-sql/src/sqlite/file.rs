//! `SqliteFile`: a SQLite file that is repaired when an operation meets damage.

use super::{pool::Pool, repair::Repair};
use crate::{error::DbError, row::Row, statement::Statement};

/// The connections to a file, and its repair, unless the file can only be read.
pub(crate) struct SqliteFile {
    pub(crate) pool: Pool,
    pub(crate) repair: Option<Repair>,
}

impl SqliteFile {
    /// Runs a statement that changes nothing, and returns what the function makes of its rows.
    pub(crate) fn read<T>(
        &self,
        statement: &Statement<'_>,
        mut map: impl FnMut(Row<'_>) -> Result<T, DbError>,
    ) -> Result<Vec<T>, DbError> {
        self.watch(|| self.pool.read(statement, &mut map))
    }

    /// Runs the statements in one transaction. Returns the numbers in the first column of the rows of the last one.
    pub(crate) fn write(&self, statements: &[Statement<'_>]) -> Result<Vec<i64>, DbError> {
        self.watch(|| self.pool.write(statements))
    }

    /// Returns once all earlier writes are on disk, as far as the database can tell.
    pub(crate) fn sync(&self) -> Result<(), DbError> {
        self.watch(|| self.pool.sync())
    }

    fn watch<T>(&self, mut operation: impl FnMut() -> Result<T, DbError>) -> Result<T, DbError> {
        match &self.repair {
            Some(repair) => repair.watch(operation),
            None => operation(),
        }
    }
}
