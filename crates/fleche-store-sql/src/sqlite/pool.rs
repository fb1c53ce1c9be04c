//! `Pool`: the connections of this process to one SQLite file. Each operation runs on the calling thread.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::{Condvar, Mutex, MutexGuard},
    thread,
    time::Duration,
};

use fleche_core::{job::blocking_hooks, spi::LockResultExt};
use rusqlite::{Connection, OpenFlags};

use super::{execute, file_access::FileAccess, group::Group, repair::Repair};
use crate::{
    error::DbError,
    limit::{Attempts, Limit, Timeout},
    row::Row,
    statement::Statement,
};

/// The maximum number of connections that read at the same time.
const READERS: usize = 8;
/// The number of prepared statements that each connection keeps.
const STATEMENTS: usize = 64;
/// The time that SQLite waits for a lock before it reports `SQLITE_BUSY` and the operation is tried again.
const BUSY: Duration = Duration::from_millis(250);

/// The connections to a SQLite file, which are opened on demand. The file is repaired when an operation meets damage.
pub(crate) struct Pool {
    settings: FileSettings,
    /// The repair of the file, unless it can only be read.
    pub(crate) repair: Option<Repair>,
    pub(crate) timeout: Timeout,
    readers: Mutex<Readers>,
    reader_returned: Condvar,
    writers: Group,
}

/// The settings of the connections to a file.
struct FileSettings {
    path: PathBuf,
    access: FileAccess,
    /// Whether the file has a rollback journal instead of a write-ahead log.
    rollback: bool,
}

/// The connections of readers.
#[derive(Default)]
struct Readers {
    idle: Vec<Connection>,
    in_use: usize,
}

impl Pool {
    /// Opens this file, which must exist. It gets a write-ahead log or, if `rollback` is set, a rollback journal, for
    /// file systems on which not all processes can share the memory that a log needs.
    pub(crate) fn open(path: &Path, rollback: bool, access: FileAccess, timeout: Duration) -> Result<Self, DbError> {
        let settings = FileSettings { path: path.to_owned(), access, rollback };
        let pool = Self {
            settings,
            repair: None,
            timeout: Timeout::new(timeout),
            readers: Mutex::default(),
            reader_returned: Condvar::new(),
            writers: Group::default(),
        };
        if access == FileAccess::Full {
            pool.in_time(0, |_| pool.settings.set_journal())?;
        }
        Ok(pool)
    }

    /// Returns whether the file can only be read.
    pub(crate) fn is_read_only(&self) -> bool {
        self.settings.access != FileAccess::Full
    }

    /// Runs a statement that changes nothing, and returns what the function makes of its rows.
    pub(crate) fn read<T>(
        &self,
        statement: &Statement<'_>,
        mut map: impl FnMut(Row<'_>) -> Result<T, DbError>,
    ) -> Result<Vec<T>, DbError> {
        self.in_time(0, |limit| {
            let mut rows = Vec::new();
            self.reader(limit)?.with(|connection| {
                execute::query(connection, statement, |row| {
                    rows.push(map(row)?);
                    Ok(())
                })
            })?;
            Ok(rows)
        })
    }

    /// Runs the statements in one transaction. Returns the numbers in the first column of the rows of the last one.
    pub(crate) fn write(&self, statements: &[Statement<'_>]) -> Result<Vec<i64>, DbError> {
        let bytes = statements.iter().map(Statement::bytes_sent).sum();
        self.in_time(bytes, |limit| self.writers.write(statements, limit, || self.settings.connect()))
    }

    /// Returns once all earlier writes are on disk, as far as the database can tell.
    pub(crate) fn sync(&self) -> Result<(), DbError> {
        // With a rollback journal, each commit waits for the disk.
        if self.settings.rollback {
            return Ok(());
        }
        self.in_time(0, |limit| self.writers.with(limit, || self.settings.connect(), sync))
    }

    /// Tries the operation until it succeeds, fails permanently, or times out; if it meets damage, again after a repair.
    fn in_time<T>(
        &self,
        bytes_sent: usize,
        mut attempt: impl FnMut(Limit) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        match &self.repair {
            Some(repair) => repair.watch(|| self.unrepaired(bytes_sent, &mut attempt)),
            None => self.unrepaired(bytes_sent, &mut attempt),
        }
    }

    fn unrepaired<T>(
        &self,
        bytes_sent: usize,
        attempt: &mut impl FnMut(Limit) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        let limit = Limit::new(self.timeout.get(), bytes_sent);
        let mut error = match attempt(limit) {
            Err(error) if error.is_transient() => error,
            done => return done,
        };
        let mut attempts = Attempts::new(limit);
        blocking_hooks::blocking(|| {
            loop {
                thread::sleep(attempts.pause(error)?);
                match attempt(limit) {
                    Err(failed) => error = failed,
                    done => return done,
                }
            }
        })
    }

    /// Returns the right to read once few enough threads do.
    fn reader(&self, limit: Limit) -> Result<Reader<'_>, DbError> {
        let mut readers = self.readers();
        if readers.in_use == READERS {
            drop(readers);
            let is_free = |readers: &Readers| readers.in_use < READERS;
            let why = "other threads use all connections";
            readers = limit.wait_until(&self.readers, &self.reader_returned, is_free, why)?;
        }
        readers.in_use += 1;
        Ok(Reader { pool: self, connection: readers.idle.pop() })
    }

    fn readers(&self) -> MutexGuard<'_, Readers> {
        self.readers.lock().ignore_poison()
    }
}

/// The right to read, and the connection, unless it must be opened first.
struct Reader<'a> {
    pool: &'a Pool,
    connection: Option<Connection>,
}

impl Reader<'_> {
    /// Runs the operation. Its connection is closed if it may not be usable afterwards.
    fn with<T>(mut self, operation: impl FnOnce(&Connection) -> Result<T, DbError>) -> Result<T, DbError> {
        let connection = self.connection.take().map_or_else(|| self.pool.settings.connect(), Ok)?;
        let done = operation(&connection);
        let is_usable = done.as_ref().err().is_none_or(DbError::is_transient);
        self.connection = Some(connection).filter(|_| is_usable);
        done
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        let mut readers = self.pool.readers();
        // Threads wait only while all connections are in use.
        if readers.in_use == READERS {
            self.pool.reader_returned.notify_all();
        }
        readers.in_use -= 1;
        readers.idle.extend(self.connection.take());
    }
}

/// Makes a commit that waits for the disk, which also makes all earlier commits in the log durable.
fn sync(connection: &Connection) -> Result<(), DbError> {
    let set = |synchronous| connection.pragma_update(None, "synchronous", synchronous);
    set("FULL")?;
    let counted = connection.execute("UPDATE fleche_meta SET value = value + 1 WHERE name = 'syncs'", []);
    set("NORMAL")?;
    Ok(counted.map(drop)?)
}

impl FileSettings {
    /// Opens a connection.
    fn connect(&self) -> Result<Connection, DbError> {
        let connection = self.connect_unset()?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        // In kibibytes: enough for insertions into the indices of a million records.
        connection.pragma_update(None, "cache_size", -16384)?;
        // Detects a damaged page when it is read.
        connection.pragma_update(None, "cell_size_check", true)?;
        // The directory of temporary files may be that of the caller.
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        if self.access == FileAccess::Full {
            connection.pragma_update(None, "synchronous", if self.rollback { "EXTRA" } else { "NORMAL" })?;
            // In pages: a log of up to 16 MiB, so that pages which many commits change are written to the file less often.
            connection.pragma_update(None, "wal_autocheckpoint", 4000)?;
        }
        Ok(connection)
    }

    /// Opens a connection without settings that make SQLite read the file.
    fn connect_unset(&self) -> rusqlite::Result<Connection> {
        let as_it_is = self.access == FileAccess::ReadAsItIs;
        let mode = if self.access == FileAccess::Full {
            OpenFlags::SQLITE_OPEN_READ_WRITE
        } else {
            OpenFlags::SQLITE_OPEN_READ_ONLY
        };
        let flags = mode | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = if as_it_is {
            Connection::open_with_flags(immutable(&self.path), flags | OpenFlags::SQLITE_OPEN_URI)?
        } else {
            Connection::open_with_flags(&self.path, flags)?
        };
        connection.busy_timeout(BUSY)?;
        Ok(connection)
    }

    /// Sets the journal mode. It is a property of the file, so the first process that opens the file sets it.
    fn set_journal(&self) -> Result<(), DbError> {
        // This connection can be closed properly even if the file is damaged.
        let connection = self.connect_unset()?;
        let wanted = if self.rollback { "delete" } else { "wal" };
        let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
        if mode != wanted {
            connection.query_row(&format!("PRAGMA journal_mode = {wanted}"), [], |_| Ok(()))?;
        }
        connection.prepare("SELECT 1 FROM sqlite_master")?.exists([])?;
        Ok(())
    }
}

/// Returns the URI of a file that nothing changes, so that SQLite needs neither locks nor a log.
fn immutable(path: &Path) -> String {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        // Writing to a string does not fail.
        let _ = match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' => uri.write_char((*byte).into()),
            other => write!(uri, "%{other:02x}"),
        };
    }
    uri + "?immutable=1"
}

#[cfg(test)]
mod tests {
    use fleche_core::store::kit::StoreName;

    use super::*;
    use crate::{driver::Driver, prepare};

    const MINUTE: Duration = Duration::from_mins(1);

    /// Returns the file's journal mode and `synchronous` setting after a write and a sync.
    fn journal(path: &Path, rollback: bool) -> Result<(String, i64), DbError> {
        let pool = Pool::open(path, rollback, FileAccess::Full, MINUTE)?;
        let driver = Driver::Sqlite(pool);
        prepare::prepare(&driver, None, &StoreName::new("sql store", "test"))?;
        driver.sync()?;
        let journal = driver.read(&Statement::new("PRAGMA journal_mode"), |row| row.text(0))?.remove(0);
        Ok((journal, driver.read(&Statement::new("PRAGMA synchronous"), |row| row.integer(0))?[0]))
    }

    #[test]
    fn journal_mode_follows_the_file_system_not_the_previous_mode() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        std::fs::write(&path, b"").unwrap();
        for _ in 0..2 {
            assert_eq!(journal(&path, false).unwrap(), ("wal".to_owned(), 1));
            assert_eq!(journal(&path, true).unwrap(), ("delete".to_owned(), 3));
        }
    }

    #[test]
    fn missing_file_is_not_created() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        assert!(matches!(journal(&path, false), Err(DbError::Sqlite(_))));
        assert!(!path.exists());
    }

    #[test]
    fn characters_with_a_meaning_in_uris_are_escaped() {
        assert_eq!(immutable(Path::new("/a b?#%/c.db")), "file:/a%20b%3f%23%25/c.db?immutable=1");
    }
}
