//! Statements that both databases understand, their dialects, and rows of either.

use std::{borrow::Cow, sync::Arc};

use sqlx::{AssertSqlSafe, Row as _, Sqlite, pool::PoolConnection, postgres::PgRow, query, raw_sql, sqlite::SqliteRow};

use crate::server::PooledConnection;

/// A statement with its parameters, numbered from `$1`. The text comes only from this crate; all user data are
/// parameters.
#[derive(Clone)]
pub(crate) struct Statement {
    sql: Cow<'static, str>,
    parameters: Vec<Parameter>,
}

#[derive(Clone)]
enum Parameter {
    Bytes(Arc<[u8]>),
    NoBytes,
    Integer(i64),
}

impl Statement {
    pub(crate) fn new(sql: impl Into<Cow<'static, str>>) -> Self {
        Self { sql: sql.into(), parameters: Vec::new() }
    }

    pub(crate) fn bytes(self, bytes: impl Into<Arc<[u8]>>) -> Self {
        self.with(Parameter::Bytes(bytes.into()))
    }

    pub(crate) fn maybe_bytes(self, bytes: Option<Vec<u8>>) -> Self {
        self.with(bytes.map_or(Parameter::NoBytes, |bytes| Parameter::Bytes(bytes.into())))
    }

    pub(crate) fn integer(self, integer: i64) -> Self {
        self.with(Parameter::Integer(integer))
    }

    fn with(mut self, parameter: Parameter) -> Self {
        self.parameters.push(parameter);
        self
    }

    /// Returns the number of the next parameter.
    pub(crate) fn next(&self) -> usize {
        self.parameters.len() + 1
    }

    /// Returns the total size of the parameters in bytes.
    pub(crate) fn bytes_sent(&self) -> usize {
        let length = |parameter: &Parameter| if let Parameter::Bytes(bytes) = parameter { bytes.len() } else { 0 };
        self.parameters.iter().map(length).sum()
    }

    /// Appends text to the statement.
    pub(crate) fn push(&mut self, sql: &str) {
        self.sql.to_mut().push_str(sql);
    }

    /// Runs the statement on a SQLite file, on this thread.
    pub(crate) fn run_on(&self, connection: &rusqlite::Connection) -> rusqlite::Result<()> {
        let mut statement = connection.prepare_cached(&self.sql)?;
        for (at, parameter) in self.parameters.iter().enumerate() {
            match parameter {
                Parameter::Bytes(bytes) => statement.raw_bind_parameter(at + 1, &**bytes)?,
                Parameter::NoBytes => statement.raw_bind_parameter(at + 1, rusqlite::types::Null)?,
                Parameter::Integer(integer) => statement.raw_bind_parameter(at + 1, integer)?,
            }
        }
        statement.raw_execute().map(drop)
    }

    /// Returns the statement that explains its query plan, for tests.
    #[cfg(test)]
    pub(crate) fn explained(mut self) -> Self {
        self.sql = format!("EXPLAIN QUERY PLAN {}", self.sql).into();
        self
    }
}

/// A connection in use.
pub(crate) enum Connection {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PooledConnection),
}

/// A transaction: its statements take effect with [`commit`](Self::commit), or not at all if it is dropped before.
pub(crate) enum Transaction {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(PooledConnection),
}

macro_rules! fetch {
    ($connection:expr, $statement:expr) => {{
        let mut query = query(AssertSqlSafe($statement.sql.clone()));
        for parameter in &$statement.parameters {
            query = match parameter {
                Parameter::Bytes(bytes) => query.bind(bytes.clone()),
                Parameter::NoBytes => query.bind(None::<Vec<u8>>),
                Parameter::Integer(integer) => query.bind(*integer),
            };
        }
        query.fetch_all(&mut **$connection).await
    }};
}

macro_rules! impl_fetch {
    ($type:ident) => {
        impl $type {
            /// Runs the statement to its end, and returns its rows.
            pub(crate) async fn fetch(&mut self, statement: &Statement) -> sqlx::Result<Vec<Row>> {
                match self {
                    Self::Sqlite(connection) => {
                        Ok(fetch!(connection, statement)?.into_iter().map(Row::Sqlite).collect())
                    }
                    Self::Postgres(connection) => {
                        Ok(fetch!(connection, statement)?.into_iter().map(Row::Postgres).collect())
                    }
                }
            }
        }
    };
}

impl_fetch!(Connection);
impl_fetch!(Transaction);

impl Connection {
    /// Makes the connection close instead of returning to the pool.
    pub(crate) fn give_up(&mut self) {
        match self {
            Self::Sqlite(connection) => connection.close_on_drop(),
            // It closes unless it is returned to the pool.
            Self::Postgres(_) => {}
        }
    }

    /// Returns the connection to the pool. No operation may be running on it.
    pub(crate) fn give_back(self) {
        match self {
            // Dropping it returns it.
            Self::Sqlite(_) => {}
            Self::Postgres(connection) => connection.give_back(),
        }
    }
}

impl Transaction {
    /// Begins a transaction on a server. If the transaction does not end, the connection is closed.
    pub(crate) async fn begin(mut connection: PooledConnection) -> sqlx::Result<Self> {
        raw_sql("BEGIN").execute(&mut *connection).await?;
        Ok(Self::Postgres(connection))
    }

    pub(crate) async fn commit(self) -> sqlx::Result<()> {
        match self {
            Self::Sqlite(transaction) => transaction.commit().await,
            Self::Postgres(mut connection) => {
                raw_sql("COMMIT").execute(&mut *connection).await?;
                connection.give_back();
                Ok(())
            }
        }
    }
}

/// A row.
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    /// Returns the bytes in this column, counted from 0, or `None` for `NULL`.
    pub(crate) fn maybe_bytes(&self, column: usize) -> sqlx::Result<Option<Vec<u8>>> {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
    }

    pub(crate) fn bytes(&self, column: usize) -> sqlx::Result<Vec<u8>> {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
    }

    /// Returns the number in this column, which is a `BIGINT`.
    pub(crate) fn integer(&self, column: usize) -> sqlx::Result<i64> {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
    }

    #[cfg(test)]
    pub(crate) fn text(&self, column: usize) -> sqlx::Result<String> {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
    }
}

/// The SQL dialect of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    /// Returns an expression for the database's own clock: milliseconds since the Unix epoch when the statement runs.
    pub(crate) fn now(self) -> &'static str {
        match self {
            Self::Sqlite => "CAST(round(unixepoch('subsec') * 1000) AS INTEGER)",
            // `now()` would be the time at which the transaction began.
            Self::Postgres => "CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT)",
        }
    }

    /// Returns the type of a column of bytes.
    pub(crate) fn bytes(self) -> &'static str {
        match self {
            Self::Sqlite => "BLOB",
            Self::Postgres => "BYTEA",
        }
    }

    /// Returns the type and constraint of a key that counts up and never repeats a number.
    pub(crate) fn counter(self) -> &'static str {
        match self {
            Self::Sqlite => "INTEGER PRIMARY KEY AUTOINCREMENT",
            Self::Postgres => "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        }
    }

    /// Returns the end of the definition of a table that consists of its primary key only.
    pub(crate) fn all_key(self) -> &'static str {
        match self {
            Self::Sqlite => "WITHOUT ROWID",
            Self::Postgres => "",
        }
    }

    /// Returns the end of a query that locks its rows until the transaction ends. SQLite has only one writer at a time.
    pub(crate) fn for_update(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => "FOR UPDATE",
        }
    }
}
