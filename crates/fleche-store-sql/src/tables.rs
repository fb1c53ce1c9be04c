//! `Tables`: the tables of one pair of stores in an open database.

use std::{
    collections::HashSet,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use fleche_core::{CallKey, Result, store::ensure_not_forked};

use crate::{
    connection::Connections,
    error::{Failed, read_only},
    repair::Repair,
    runtime,
    schema::Rights,
    statement::{Dialect, Row, Statement},
};

/// The maximum length of a value, in bytes, that both databases can store in one row: a SQLite row has at most a
/// billion bytes, a PostgreSQL field or message at most 1 GiB. The rest of the row needs some of it.
pub(crate) const LONGEST: usize = 999_000_000;

/// The tables of a database, as one process sees them.
pub(crate) struct Tables {
    /// The name in messages, without a password.
    pub(crate) name: String,
    pub(crate) connections: Connections,
    rights: Rights,
    /// Repairs the SQLite file.
    repair_state: Option<Repair>,
    /// The keys under which this process has found records of a later format.
    later: Mutex<HashSet<CallKey>>,
}

impl Tables {
    pub(crate) fn new(name: String, connections: Connections, rights: Rights, repair_state: Option<Repair>) -> Self {
        Self { name, connections, rights, repair_state, later: Mutex::default() }
    }

    /// Returns whether the database is read-only for this user.
    pub(crate) fn is_read_only(&self) -> bool {
        self.rights == Rights::Read
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.connections.dialect()
    }

    /// Runs a statement that changes nothing, and returns its rows.
    pub(crate) fn read(&self, statement: Statement) -> Result<Vec<Row>> {
        let statement = Arc::new(statement);
        self.run(|connections| {
            let statement = statement.clone();
            async move { connections.read(&statement).await }
        })
    }

    /// Runs the statements in one transaction. Returns the rows of each.
    ///
    /// # Errors
    /// Fails with [`Error::Refused`](fleche_core::Error::Refused) if the database is read-only.
    pub(crate) fn write(&self, statements: Vec<Statement>) -> Result<Vec<Vec<Row>>> {
        if self.is_read_only() {
            return Err(read_only(&self.name));
        }
        let statements = Arc::new(statements);
        self.run(|connections| {
            let statements = statements.clone();
            async move { connections.write(&statements).await }
        })
    }

    /// Runs the statement. Returns its number of rows: one for each changed row, if it ends with `RETURNING 1`.
    pub(crate) fn change(&self, statement: Statement) -> Result<usize> {
        Ok(self.write(vec![statement])?.first().map_or(0, Vec::len))
    }

    /// Returns once all earlier writes are on disk.
    pub(crate) fn sync(&self) -> Result<()> {
        if self.is_read_only() {
            return Ok(());
        }
        self.run(|connections| async move { connections.sync().await })
    }

    /// Returns the keys under which this process has found records of a later format.
    pub(crate) fn later(&self) -> MutexGuard<'_, HashSet<CallKey>> {
        self.later.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run<T, F>(&self, operation: impl Fn(Connections) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = sqlx::Result<T>> + Send + 'static,
    {
        let name = &self.name;
        ensure_not_forked(|| name)?;
        let attempt = || {
            let operation = operation(self.connections.clone());
            Ok(runtime::run(name, async move { Ok(operation.await) })??)
        };
        match &self.repair_state {
            Some(repair_state) => repair_state.watch(attempt),
            None => attempt().map_err(|failed: Failed| failed.into_error(name)),
        }
    }
}

impl Drop for Tables {
    fn drop(&mut self) {
        runtime::finish(self.connections.clone().close());
    }
}
