//! `Tables`: the tables of one pair of stores in an open database, and the quarantine: damaged entries are moved to a table
//! where users can inspect them and no lookup finds them.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard},
};

use bytes::Bytes;
use fleche_core::{
    CallKey, Result,
    store::kit::{Entry, Kind, LockResultExt as _, StoreName, ensure_not_forked, read_verified},
};

use crate::{
    driver::Driver,
    error::DbError,
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
    pub(crate) name: StoreName,
    pub(crate) driver: Driver,
    rights: Rights,
    /// The keys under which this process has found records of a later format.
    later_records: Mutex<HashSet<CallKey>>,
}

impl Tables {
    pub(crate) fn new(name: StoreName, driver: Driver, rights: Rights) -> Self {
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
            return Err(self.name.read_only());
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
        ensure_not_forked(|| self.name.to_string())?;
        operation(&self.driver).map_err(|error| error.into_error(&self.name))
    }
}

impl Tables {
    /// Returns the bytes of the entry, or `None` if there is no such entry.
    pub(crate) fn bytes(&self, entry: Entry) -> Result<Option<Bytes>> {
        let select = match entry.kind {
            Kind::Value => "SELECT bytes FROM fleche_values WHERE id = $1",
            Kind::Record => "SELECT record FROM fleche_calls WHERE key = $1",
        };
        let select = Statement::new(select).bytes(entry.digest.as_bytes());
        Ok(self.read(&select, |row| Ok(Bytes::copy_from_slice(row.bytes(0)?)))?.pop())
    }

    /// Returns what the function makes of the entry's bytes, or `None` if there is no such entry. If the function returns
    /// a reason why they are damaged, the entry is moved to `fleche_damaged`.
    pub(crate) fn verified<T>(
        &self,
        entry: Entry,
        verify: impl Fn(Bytes) -> Result<Option<T>, String>,
    ) -> Result<Option<T>> {
        let read = || {
            let Some(bytes) = self.bytes(entry)? else { return Ok(Ok(None)) };
            Ok(verify(bytes.clone()).map_err(|why| (why.clone(), (why, bytes))))
        };
        let fate = "it was moved to the table `fleche_damaged`";
        read_verified(&self.name, entry, fate, read, |(why, bytes)| self.quarantine(entry, bytes, why))
    }

    /// Moves the entry to `fleche_damaged`, if it still has these bytes. Returns whether it had.
    fn quarantine(&self, entry: Entry, bytes: &[u8], why: &str) -> Result<bool> {
        let (origin, row) = match entry.kind {
            Kind::Value => ("values", "SELECT id, bytes FROM fleche_values WHERE id = $2 AND bytes = $3"),
            Kind::Record => ("calls", "SELECT key, record FROM fleche_calls WHERE key = $2 AND record = $3"),
        };
        let (now, for_update) = (self.dialect().now(), self.dialect().for_update());
        let keep = Statement::new(format!(
            "INSERT INTO fleche_damaged (origin, why, key, bytes, noticed)
             SELECT '{origin}', $1, found.*, {now} FROM ({row} {for_update}) AS found"
        ));
        let id = entry.digest.as_bytes();
        let mut statements = vec![keep.bytes(why.as_bytes()).bytes(id).bytes(bytes)];
        match entry.kind {
            Kind::Value => {
                let remove = "DELETE FROM fleche_values WHERE id = $1 AND bytes = $2 RETURNING 1";
                statements.push(Statement::new(remove).bytes(id).bytes(bytes));
            }
            Kind::Record => statements.extend(removal(self.dialect(), id, bytes)),
        }
        Ok(!self.write(&statements)?.is_empty())
    }
}

/// Returns statements that remove the record, if it has these bytes, and its index rows. The last one returns a row if
/// the record was removed.
pub(crate) fn removal<'a>(dialect: Dialect, id: &'a [u8; 32], record: &'a [u8]) -> [Statement<'a>; 4] {
    const CALL: &str = "FROM fleche_calls WHERE key = $1 AND record = $2";
    let of_it = |sql: String| Statement::new(sql).bytes(id).bytes(record);
    [
        // Locks the row, so that the statements below see the same record.
        of_it(format!("SELECT 1 {CALL} {}", dialect.for_update())),
        of_it(format!("DELETE FROM fleche_arguments WHERE call = (SELECT number {CALL})")),
        of_it(format!("DELETE FROM fleche_metadata WHERE call = (SELECT number {CALL})")),
        of_it(format!("DELETE {CALL} RETURNING 1")),
    ]
}
