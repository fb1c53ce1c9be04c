//! `Tables`: the tables of one pair of stores in an open database, and the quarantine: damaged entries are moved to a table
//! where users can inspect them and no lookup finds them.

use std::{
    collections::HashSet,
    future::Future,
    sync::{Arc, Mutex, MutexGuard},
};

use fleche_core::{CallKey, Digest, Result, spi::LockResultExt, store::ensure_not_forked};

use crate::{
    connection::Connections,
    error::{Failed, damaged, read_only},
    repair::Repair,
    runtime,
    schema::Rights,
    statement::{Dialect, Row, Statement},
};

/// The maximum length of a value, in bytes, that both databases can store in one row: a SQLite row has at most a
/// billion bytes, a PostgreSQL field or message at most 1 GiB. The rest of the row needs some of it.
pub(crate) const MAX_ENTRY_LEN: usize = 999_000_000;

/// The tables of a database, as one process sees them.
pub(crate) struct Tables {
    /// The name in messages, without a password.
    pub(crate) name: String,
    pub(crate) connections: Connections,
    rights: Rights,
    /// Repairs the SQLite file.
    repair_state: Option<Repair>,
    /// The keys under which this process has found records of a later format.
    later_records: Mutex<HashSet<CallKey>>,
}

impl Tables {
    pub(crate) fn new(name: String, connections: Connections, rights: Rights, repair_state: Option<Repair>) -> Self {
        Self { name, connections, rights, repair_state, later_records: Mutex::default() }
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
    pub(crate) fn later_records(&self) -> MutexGuard<'_, HashSet<CallKey>> {
        self.later_records.lock().ignore_poison()
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

/// The result of quarantining an entry that had changed since.
pub(crate) enum Quarantined {
    /// Another entry has replaced the damaged one.
    Another,
    /// Another process has quarantined or removed the damaged entry.
    Gone,
}

impl Tables {
    /// Moves the value to `fleche_damaged`, if it still has these bytes, which are damaged because of `why`.
    ///
    /// # Errors
    /// Fails with [`Error::Damaged`](fleche_core::Error::Damaged) if it still had these bytes, whether or not it could
    /// be moved.
    pub(crate) fn quarantine_value(&self, id: &Digest, bytes: &[u8], why: &str) -> Result<Quarantined> {
        let remove = Statement::new("DELETE FROM fleche_values WHERE id = $1 AND bytes = $2 RETURNING 1");
        let keep = self.back_up("values", "SELECT id, bytes FROM fleche_values WHERE id = $1 AND bytes = $2");
        let statements = vec![
            keep.bytes(*id.as_bytes()).bytes(bytes).bytes(why.as_bytes()),
            remove.bytes(*id.as_bytes()).bytes(bytes),
        ];
        let entry = format!("value {id}");
        self.moved(self.write(statements), &entry, why)?;
        let still = Statement::new("SELECT 1 FROM fleche_values WHERE id = $1").bytes(*id.as_bytes());
        Ok(if self.read(still)?.is_empty() { Quarantined::Gone } else { Quarantined::Another })
    }

    /// Moves the record to `fleche_damaged`, like [`quarantine_value`](Self::quarantine_value).
    pub(crate) fn quarantine_record(&self, key: &CallKey, record: &[u8], why: &str) -> Result<Quarantined> {
        let id = *key.digest().as_bytes();
        let keep = self.back_up("calls", "SELECT key, record FROM fleche_calls WHERE key = $1 AND record = $2");
        let mut statements = vec![keep.bytes(id).bytes(record).bytes(why.as_bytes())];
        statements.extend(removal(self.dialect(), key, record));
        let entry = format!("the record of call {key}");
        self.moved(self.write(statements), &entry, why)?;
        let still = Statement::new("SELECT 1 FROM fleche_calls WHERE key = $1").bytes(id);
        Ok(if self.read(still)?.is_empty() { Quarantined::Gone } else { Quarantined::Another })
    }

    /// Returns a statement that copies the result of the query, a key and bytes, to `fleche_damaged`. `$3` is the
    /// reason.
    fn back_up(&self, origin: &str, query: &str) -> Statement {
        let (now, for_update) = (self.dialect().now(), self.dialect().for_update());
        Statement::new(format!(
            "INSERT INTO fleche_damaged (origin, key, bytes, why, noticed)
             SELECT '{origin}', found.*, $3, {now} FROM ({query} {for_update}) AS found"
        ))
    }

    /// Returns the error for the damage if the last statement has removed the entry, or if the statements failed.
    fn moved(&self, done: Result<Vec<Vec<Row>>>, entry: &str, why: &str) -> Result<()> {
        match done {
            Ok(rows) if rows.last().is_none_or(Vec::is_empty) => Ok(()),
            Ok(_) => Err(damaged(&self.name, entry, why, "it was moved to the table `fleche_damaged`")),
            Err(error) => {
                let fate = format!("it stays in place, since it cannot be moved: {error}");
                Err(damaged(&self.name, entry, why, fate))
            }
        }
    }
}

/// Returns statements that remove the record, if it has these bytes, and its index rows. The last one returns a row if
/// the record was removed.
pub(crate) fn removal(dialect: Dialect, key: &CallKey, record: &[u8]) -> [Statement; 4] {
    const CALL: &str = "FROM fleche_calls WHERE key = $1 AND record = $2";
    let of_it = |sql: String| Statement::new(sql).bytes(*key.digest().as_bytes()).bytes(record);
    [
        // Locks the row, so that the statements below see the same record.
        of_it(format!("SELECT 1 {CALL} {}", dialect.for_update())),
        of_it(format!("DELETE FROM fleche_arguments WHERE call = (SELECT number {CALL})")),
        of_it(format!("DELETE FROM fleche_metadata WHERE call = (SELECT number {CALL})")),
        of_it(format!("DELETE {CALL} RETURNING 1")),
    ]
}
