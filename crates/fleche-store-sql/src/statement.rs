//! Statements that both databases understand, and rows of either.

use std::{borrow::Cow, sync::Arc};

use sqlx::{AssertSqlSafe, Row as _, Sqlite, pool::PoolConnection, postgres::PgRow, query, raw_sql, sqlite::SqliteRow};

use crate::server::Lent;

/// One statement with its parameters, `$1` and on. Its text comes from this crate alone; whatever comes from users is a
/// parameter.
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

    /// The number of the parameter that is added next.
    pub(crate) fn next(&self) -> usize {
        self.parameters.len() + 1
    }

    /// How many bytes its parameters have.
    pub(crate) fn bytes_sent(&self) -> usize {
        let length = |parameter: &Parameter| if let Parameter::Bytes(bytes) = parameter { bytes.len() } else { 0 };
        self.parameters.iter().map(length).sum()
    }

    /// Adds text.
    pub(crate) fn push(&mut self, sql: &str) {
        self.sql.to_mut().push_str(sql);
    }

    /// Runs it on a file of SQLite, on this thread.
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

    /// The text, for tests of query plans.
    #[cfg(test)]
    pub(crate) fn explained(mut self) -> Self {
        self.sql = format!("EXPLAIN QUERY PLAN {}", self.sql).into();
        self
    }
}

/// A connection in use.
pub(crate) enum Connection {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(Lent),
}

/// A connection on which all statements take effect with [`commit`](Self::commit), or none if it is dropped before.
pub(crate) enum Transaction {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(Lent),
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
            /// Runs the statement to its end. The rows that it gives.
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
    /// Has the connection closed instead of returned.
    pub(crate) fn give_up(&mut self) {
        match self {
            Self::Sqlite(connection) => connection.close_on_drop(),
            // It is closed unless it is given back.
            Self::Postgres(_) => {}
        }
    }

    /// Gives back the connection, on which everything has ended.
    pub(crate) fn give_back(self) {
        match self {
            // Its drop does.
            Self::Sqlite(_) => {}
            Self::Postgres(connection) => connection.give_back(),
        }
    }
}

impl Transaction {
    /// Begins a transaction on a server. If the transaction does not end, the connection is closed.
    pub(crate) async fn begin(mut connection: Lent) -> sqlx::Result<Self> {
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
    /// The bytes in this column, from 0; `None` for `NULL`.
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

    /// The number in this column, which is a `BIGINT`.
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
