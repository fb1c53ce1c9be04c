//! `Tables`: the tables of one pair of stores in an open database, and the quarantine: damaged entries are moved to a table
//! where users can inspect them and no lookup finds them.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard},
};

use fleche_core::{CallKey, Digest, Result, spi::LockResultExt, store::ensure_not_forked};

use crate::{
    driver::Driver,
    error::{DbError, damaged, read_only},
    prepare::Rights,
    row::Row,
    statement::{Dialect, Statement},
};

/// The maximum length of a value, in bytes, that both databases can store in one row: a SQLite row has at most a
/// billion bytes, a PostgreSQL field or message at most 1 GiB. The rest of the row needs some of it.
pub(crate) const MAX_ENTRY_LEN: usize = 999_000_000;

/// The tables of a database, as one process sees them.
pub(crate) struct Tables {
    /// The name in messages, without a password.
    pub(crate) name: String,
    pub(crate) driver: Driver,
    rights: Rights,
    /// The keys under which this process has found records of a later format.
    later_records: Mutex<HashSet<CallKey>>,
}

impl Tables {
    pub(crate) fn new(name: String, driver: Driver, rights: Rights) -> Self {
        Self { name, driver, rights, later_records: Mutex::default() }
    }

    /// Returns whether the database is read-only for this user.
    pub(crate) fn is_read_only(&self) -> bool {
        self.rights == Rights::Read
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.driver.dialect()
    }

    /// Runs a statement that changes nothing, and returns what the function makes of its rows. The function may not use
    /// the database.
    pub(crate) fn read<T>(
        &self,
        statement: &Statement<'_>,
        map: impl FnMut(Row<'_>) -> Result<T, DbError>,
    ) -> Result<Vec<T>> {
        self.run(|driver| driver.read(statement, map))
    }

    /// Returns whether the statement, which changes nothing, returns a row.
    pub(crate) fn has_row(&self, statement: &Statement<'_>) -> Result<bool> {
        Ok(!self.read(statement, |_| Ok(()))?.is_empty())
    }

    /// Runs the statements in one transaction. Returns the numbers in the first column of the rows of the last one.
    ///
    /// # Errors
    /// Fails with [`Error::Refused`](fleche_core::Error::Refused) if the database is read-only.
    pub(crate) fn write(&self, statements: &[Statement<'_>]) -> Result<Vec<i64>> {
        if self.is_read_only() {
            return Err(read_only(&self.name));
        }
        self.run(|driver| driver.write(statements))
    }

    /// Runs the statement. Returns its number of rows: one for each changed row, if it ends with `RETURNING 1`.
    pub(crate) fn change(&self, statement: Statement<'_>) -> Result<usize> {
        Ok(self.write(&[statement])?.len())
    }

    /// Returns once all earlier writes are on disk.
    pub(crate) fn sync(&self) -> Result<()> {
        if self.is_read_only() { Ok(()) } else { self.run(Driver::sync) }
    }

    /// Returns the keys under which this process has found records of a later format.
    pub(crate) fn later_records(&self) -> MutexGuard<'_, HashSet<CallKey>> {
        self.later_records.lock().ignore_poison()
    }

    fn run<T>(&self, operation: impl FnOnce(&Driver) -> Result<T, DbError>) -> Result<T> {
        ensure_not_forked(|| &self.name)?;
        operation(&self.driver).map_err(|error| error.into_error(&self.name))
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
        let statements =
            [keep.bytes(id.as_bytes()).bytes(bytes).bytes(why.as_bytes()), remove.bytes(id.as_bytes()).bytes(bytes)];
        let entry = format!("value {id}");
        self.moved(self.write(&statements), &entry, why)?;
        let still = Statement::new("SELECT 1 FROM fleche_values WHERE id = $1").bytes(id.as_bytes());
        Ok(if self.has_row(&still)? { Quarantined::Another } else { Quarantined::Gone })
    }

    /// Moves the record to `fleche_damaged`, like [`quarantine_value`](Self::quarantine_value).
    pub(crate) fn quarantine_record(&self, key: &CallKey, record: &[u8], why: &str) -> Result<Quarantined> {
        let id = key.digest().as_bytes();
        let keep = self.back_up("calls", "SELECT key, record FROM fleche_calls WHERE key = $1 AND record = $2");
        let mut statements = vec![keep.bytes(id).bytes(record).bytes(why.as_bytes())];
        statements.extend(removal(self.dialect(), key, record));
        let entry = format!("the record of call {key}");
        self.moved(self.write(&statements), &entry, why)?;
        let still = Statement::new("SELECT 1 FROM fleche_calls WHERE key = $1").bytes(id);
        Ok(if self.has_row(&still)? { Quarantined::Another } else { Quarantined::Gone })
    }

    /// Returns a statement that copies the result of the query, a key and bytes, to `fleche_damaged`. `$3` is the
    /// reason.
    fn back_up<'a>(&self, origin: &str, query: &str) -> Statement<'a> {
        let (now, for_update) = (self.dialect().now(), self.dialect().for_update());
        Statement::new(format!(
            "INSERT INTO fleche_damaged (origin, key, bytes, why, noticed)
             SELECT '{origin}', found.*, $3, {now} FROM ({query} {for_update}) AS found"
        ))
    }

    /// Returns the error for the damage if the last statement has removed the entry, or if the statements failed.
    fn moved(&self, done: Result<Vec<i64>>, entry: &str, why: &str) -> Result<()> {
        match done {
            Ok(removed) if removed.is_empty() => Ok(()),
            Ok(_) => Err(damaged(&self.name, entry, why, "it was moved to the table `fleche_damaged`")),
            Err(error) => {
                let fate = format!("it stays in place, since it cannot be moved: {}", error.report());
                Err(damaged(&self.name, entry, why, fate))
            }
        }
    }
}

/// Returns statements that remove the record, if it has these bytes, and its index rows. The last one returns a row if
/// the record was removed.
pub(crate) fn removal<'a>(dialect: Dialect, key: &'a CallKey, record: &'a [u8]) -> [Statement<'a>; 4] {
    const CALL: &str = "FROM fleche_calls WHERE key = $1 AND record = $2";
    let of_it = |sql: String| Statement::new(sql).bytes(key.digest().as_bytes()).bytes(record);
    [
        // Locks the row, so that the statements below see the same record.
        of_it(format!("SELECT 1 {CALL} {}", dialect.for_update())),
        of_it(format!("DELETE FROM fleche_arguments WHERE call = (SELECT number {CALL})")),
        of_it(format!("DELETE FROM fleche_metadata WHERE call = (SELECT number {CALL})")),
        of_it(format!("DELETE {CALL} RETURNING 1")),
    ]
}
