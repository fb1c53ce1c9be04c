//! `Row`: a row of a result, of either database.

#[cfg(feature = "sqlite")]
use rusqlite::types::FromSqlError;
#[cfg(feature = "postgres")]
use tokio_postgres::types::Type;

use crate::error::DbError;

/// A row, which is only valid while the function that maps it runs.
#[derive(Clone, Copy)]
pub(crate) enum Row<'a> {
    #[cfg(feature = "sqlite")]
    Sqlite(&'a rusqlite::Row<'a>),
    #[cfg(feature = "postgres")]
    Postgres(&'a tokio_postgres::Row),
}

impl<'a> Row<'a> {
    /// Returns the bytes in this column, counted from 0, or `None` for `NULL`.
    pub(crate) fn maybe_bytes(self, column: usize) -> Result<Option<&'a [u8]>, DbError> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(row) => {
                let value = row.get_ref(column)?;
                let failed = |error: FromSqlError| {
                    rusqlite::Error::FromSqlConversionFailure(column, value.data_type(), error.into()).into()
                };
                value.as_bytes_or_null().map_err(failed)
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(row) => Ok(row.try_get(column)?),
        }
    }

    pub(crate) fn bytes(self, column: usize) -> Result<&'a [u8], DbError> {
        self.maybe_bytes(column)?.ok_or_else(|| DbError::content("a column is NULL"))
    }

    /// Returns the number in this column.
    pub(crate) fn integer(self, column: usize) -> Result<i64, DbError> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(row) => Ok(row.get(column)?),
            #[cfg(feature = "postgres")]
            Self::Postgres(row) => match row.columns().get(column).map(tokio_postgres::Column::type_) {
                // The type of a constant.
                Some(&Type::INT4) => Ok(row.try_get::<_, i32>(column)?.into()),
                _ => Ok(row.try_get(column)?),
            },
        }
    }

    #[cfg(all(test, feature = "sqlite"))]
    pub(crate) fn text(self, column: usize) -> Result<String, DbError> {
        match self {
            Self::Sqlite(row) => Ok(row.get(column)?),
            #[cfg(feature = "postgres")]
            Self::Postgres(row) => Ok(row.try_get(column)?),
        }
    }
}
