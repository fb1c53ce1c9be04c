//! Statements that both databases understand, and their dialects.

use std::{borrow::Cow, fmt};

/// A statement with its parameters, numbered from `$1` in the order in which they first occur. The text comes only from
/// this crate; all user data are parameters.
#[derive(Clone)]
pub(crate) struct Statement<'a> {
    pub(crate) sql: Cow<'static, str>,
    pub(crate) parameters: Vec<Parameter<'a>>,
}

#[derive(Clone)]
pub(crate) enum Parameter<'a> {
    Bytes(Cow<'a, [u8]>),
    NoBytes,
    Integer(i64),
}

/// Shows no content, since a database driver may log parameters.
impl fmt::Debug for Parameter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::NoBytes => f.write_str("NULL"),
            Self::Integer(integer) => write!(f, "{integer}"),
        }
    }
}

impl<'a> Statement<'a> {
    pub(crate) fn new(sql: impl Into<Cow<'static, str>>) -> Self {
        Self { sql: sql.into(), parameters: Vec::new() }
    }

    pub(crate) fn bytes(self, bytes: impl Into<Cow<'a, [u8]>>) -> Self {
        self.with(Parameter::Bytes(bytes.into()))
    }

    pub(crate) fn maybe_bytes(self, bytes: Option<Vec<u8>>) -> Self {
        self.with(bytes.map_or(Parameter::NoBytes, |bytes| Parameter::Bytes(bytes.into())))
    }

    pub(crate) fn integer(self, integer: i64) -> Self {
        self.with(Parameter::Integer(integer))
    }

    fn with(mut self, parameter: Parameter<'a>) -> Self {
        self.parameters.push(parameter);
        self
    }

    /// Returns the number of the next parameter.
    pub(crate) fn next(&self) -> usize {
        self.parameters.len() + 1
    }

    /// Returns the total size of the parameters in bytes.
    pub(crate) fn bytes_sent(&self) -> usize {
        let length = |parameter: &Parameter<'_>| if let Parameter::Bytes(bytes) = parameter { bytes.len() } else { 0 };
        self.parameters.iter().map(length).sum()
    }

    /// Appends text to the statement.
    pub(crate) fn push(&mut self, sql: &str) {
        self.sql.to_mut().push_str(sql);
    }

    /// Returns the statement with copies of its parameters, for another thread.
    pub(crate) fn to_static(&self) -> Statement<'static> {
        let parameters = self.parameters.iter().map(|parameter| match parameter {
            Parameter::Bytes(bytes) => Parameter::Bytes(bytes.to_vec().into()),
            Parameter::NoBytes => Parameter::NoBytes,
            Parameter::Integer(integer) => Parameter::Integer(*integer),
        });
        Statement { sql: self.sql.clone(), parameters: parameters.collect() }
    }

    /// Returns the statement that explains its query plan, for tests.
    #[cfg(all(test, feature = "sqlite"))]
    pub(crate) fn explained(mut self) -> Self {
        self.sql = format!("EXPLAIN QUERY PLAN {}", self.sql).into();
        self
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_text_of_parameters_shows_no_content() {
        let statement = Statement::new("").bytes(&b"s3cret"[..]).maybe_bytes(None).integer(-7);
        assert_eq!(format!("{:?}", statement.parameters), "[6 bytes, NULL, -7]");
    }
}
