//! Writing a database over a damaged one, under the locks of SQLite: who has it open sees another database.

use std::{path::Path, time::Duration};

use fleche_core::{Error, Result};
use rusqlite::{
    Connection, OpenFlags, Transaction, TransactionBehavior,
    backup::{Backup, StepResult},
    config::DbConfig,
};

use crate::salvage::serves;

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
            // Has SQLite read a file that was cut short.
            connection.pragma_update(None, "writable_schema", true)?;
            // Has it open the log, as its header says; later it would take the file for one without.
            version(&connection)?;
            Ok(connection)
        };
        Ok(Self { connection: open().map_err(Error::backend::<rusqlite::Error>(store))?, store })
    }

    /// Whether all our tables are defined as they should be.
    pub(crate) fn serves(&self) -> bool {
        serves(&self.connection)
    }

    /// Changes when somebody else has written.
    pub(crate) fn version(&self) -> Result<i64> {
        version(&self.connection).map_err(Error::backend(self.store))
    }

    /// A transaction while which nobody changes what is in the files, and, if `alone`, nobody writes. With the version that
    /// this is.
    pub(crate) fn begin(&self, alone: bool) -> Result<(Transaction<'_>, i64)> {
        let begin = || {
            let kind = if alone { TransactionBehavior::Immediate } else { TransactionBehavior::Deferred };
            let transaction = Transaction::new_unchecked(&self.connection, kind)?;
            // A deferred one begins with what is read first.
            let version = version(&transaction)?;
            Ok((transaction, version))
        };
        begin().map_err(Error::backend::<rusqlite::Error>(self.store))
    }

    /// Puts the other database in the place of this one, in one transaction. The journal stays as the header says.
    pub(crate) fn overwrite_with(&mut self, other: &Path) -> Result<()> {
        let done = self.reset_to(other);
        // It is set for each connection, and this one has no other use for it.
        let _ = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_RESET_DATABASE, false);
        match done.map_err(Error::backend(self.store))? {
            StepResult::Done => Ok(()),
            other => Err(Error::backend(self.store)(format!("others have it locked ({other:?})"))),
        }
    }

    fn reset_to(&mut self, other: &Path) -> rusqlite::Result<StepResult> {
        let other = Connection::open_with_flags(other, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        // Has SQLite take the file for empty, whatever is in it.
        self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_RESET_DATABASE, true)?;
        Backup::new(&other, &mut self.connection)?.step(-1)
    }
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA data_version", [], |row| row.get(0))
}
