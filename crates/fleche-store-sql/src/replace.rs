//! Writes a database over a damaged one, under SQLite's locks: processes that have the file open see the new database.

use std::{path::Path, time::Duration};

use fleche_core::{Error, Result};
use rusqlite::{
    Connection, OpenFlags, Transaction, TransactionBehavior,
    backup::{Backup, StepResult},
    config::DbConfig,
};

use crate::recover::has_sound_tables;

/// A connection to a damaged file, whose header is sound.
pub(crate) struct Damaged<'a> {
    connection: Connection,
    store: &'a str,
}

impl<'a> Damaged<'a> {
    /// Opens the damaged file. Waits up to `timeout` for locks that other connections hold.
    pub(crate) fn open(path: &Path, store: &'a str, timeout: Duration) -> Result<Self> {
        let open = || {
            let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            connection.busy_timeout(timeout)?;
            // Makes SQLite read a truncated file.
            connection.pragma_update(None, "writable_schema", true)?;
            // Makes SQLite open the log, as the header requires. Later, SQLite would take the file for one without a
            // log.
            version(&connection)?;
            Ok(connection)
        };
        Ok(Self { connection: open().map_err(Error::backend::<rusqlite::Error>(store))?, store })
    }

    /// Returns whether all of fleche's tables are defined correctly.
    pub(crate) fn has_sound_tables(&self) -> bool {
        has_sound_tables(&self.connection)
    }

    /// Returns a number that changes when another connection writes.
    pub(crate) fn version(&self) -> Result<i64> {
        version(&self.connection).map_err(Error::backend(self.store))
    }

    /// Begins a transaction, during which no other connection changes the content of the files and, if `alone`, none
    /// writes. Returns it with the version that it sees.
    pub(crate) fn begin(&self, alone: bool) -> Result<(Transaction<'_>, i64)> {
        let begin = || {
            let kind = if alone { TransactionBehavior::Immediate } else { TransactionBehavior::Deferred };
            let transaction = Transaction::new_unchecked(&self.connection, kind)?;
            // A deferred transaction begins with its first read.
            let version = version(&transaction)?;
            Ok((transaction, version))
        };
        begin().map_err(Error::backend::<rusqlite::Error>(self.store))
    }

    /// Replaces this database by the other, in one transaction, if `is_unchanged` returns `true` once no other connection can
    /// write. Returns whether the database was replaced. The journal mode stays as the header says.
    pub(crate) fn replace_with(&mut self, other: &Path, is_unchanged: impl FnOnce() -> Result<bool>) -> Result<bool> {
        let mut checked = Ok(true);
        let done = self.reset_to(other, || {
            checked = is_unchanged();
            matches!(checked, Ok(true))
        });
        // This setting belongs to the connection, which is not used for anything else.
        let _ = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_RESET_DATABASE, false);
        let done = done.map_err(Error::backend(self.store))?;
        if !checked? {
            return Ok(false);
        }
        match done {
            StepResult::Done => Ok(true),
            other => Err(Error::backend(self.store)(format!("other processes have it locked ({other:?})"))),
        }
    }

    fn reset_to(&mut self, other: &Path, proceed: impl FnOnce() -> bool) -> rusqlite::Result<StepResult> {
        let other = Connection::open_with_flags(other, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        // Makes SQLite treat the file as empty, regardless of its content.
        self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_RESET_DATABASE, true)?;
        let backup = Backup::new(&other, &mut self.connection)?;
        // The first step takes the lock for writing. A backup that is dropped before its last step changes nothing.
        match backup.step(1)? {
            StepResult::More if proceed() => backup.step(-1),
            taken => Ok(taken),
        }
    }
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA data_version", [], |row| row.get(0))
}
