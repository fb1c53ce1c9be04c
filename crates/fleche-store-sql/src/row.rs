//! `Row`: a row of a result, of either database.

use rusqlite::types::FromSqlError;

use crate::error::DbError;

/// A row, which is only valid while the function that maps it runs.
#[derive(Clone, Copy)]
pub(crate) enum Row<'a> {
    Sqlite(&'a rusqlite::Row<'a>),
    Postgres(&'a sqlx::postgres::PgRow),
}

impl<'a> Row<'a> {
    /// Returns the bytes in this column, counted from 0, or `None` for `NULL`.
    pub(crate) fn maybe_bytes(self, column: usize) -> Result<Option<&'a [u8]>, DbError> {
        match self {
            Self::Sqlite(row) => {
                let value = row.get_ref(column)?;
                let failed = |error: FromSqlError| {
                    rusqlite::Error::FromSqlConversionFailure(column, value.data_type(), error.into()).into()
                };
                value.as_bytes_or_null().map_err(failed)
            }
            Self::Postgres(row) => Ok(sqlx::Row::try_get(row, column)?),
        }
    }

    pub(crate) fn bytes(self, column: usize) -> Result<&'a [u8], DbError> {
        self.maybe_bytes(column)?.ok_or_else(|| DbError::content("a column is NULL"))
    }

    /// Returns the number in this column.
    pub(crate) fn integer(self, column: usize) -> Result<i64, DbError> {
        match self {
            Self::Sqlite(row) => Ok(row.get(column)?),
            Self::Postgres(row) => match sqlx::Row::try_get(row, column) {
                Ok(number) => Ok(number),
                Err(error) => Ok(sqlx::Row::try_get::<i32, _>(row, column).map_err(|_| error)?.into()),
            },
        }
    }

    #[cfg(test)]
    pub(crate) fn text(self, column: usize) -> Result<String, DbError> {
        match self {
            Self::Sqlite(row) => Ok(row.get(column)?),
            Self::Postgres(row) => Ok(sqlx::Row::try_get(row, column)?),
        }
    }
}
