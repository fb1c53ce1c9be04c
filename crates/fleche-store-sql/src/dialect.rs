//! What the two databases write differently.

/// A database's way of speaking SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    /// The database's own clock: milliseconds since 1970, of the moment at which the statement runs.
    pub(crate) fn now(self) -> &'static str {
        match self {
            Self::Sqlite => "CAST(round(unixepoch('subsec') * 1000) AS INTEGER)",
            // Not `now()`, which is the time at which the transaction began.
            Self::Postgres => "CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT)",
        }
    }

    /// The type of bytes.
    pub(crate) fn bytes(self) -> &'static str {
        match self {
            Self::Sqlite => "BLOB",
            Self::Postgres => "BYTEA",
        }
    }

    /// The type and constraint of a key that counts up and never gives a number twice.
    pub(crate) fn counter(self) -> &'static str {
        match self {
            Self::Sqlite => "INTEGER PRIMARY KEY AUTOINCREMENT",
            Self::Postgres => "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        }
    }

    /// Ends the definition of a table that is nothing but its primary key.
    pub(crate) fn all_key(self) -> &'static str {
        match self {
            Self::Sqlite => "WITHOUT ROWID",
            Self::Postgres => "",
        }
    }

    /// Ends a query whose rows nobody else may change before the transaction ends. In SQLite only one writes at a time.
    pub(crate) fn for_update(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => "FOR UPDATE",
        }
    }
}
