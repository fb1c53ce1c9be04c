//! Repair of a damaged SQLite file: the readable entries are copied to a new database, which then replaces the content of the
//! file under SQLite's locks, so that processes that have it open see the new database.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::{self, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use fleche_core::{
    Error, Result,
    job::blocking_hooks,
    spi::{LockResultExt, written_file},
    store::{Place, kit::beside},
};
use rusqlite::{
    Connection, OpenFlags, Transaction, TransactionBehavior,
    backup::{Backup, StepResult},
    config::DbConfig,
};

use super::{
    files::{FileBytes, back_up, copy_database, copy_log, free_path},
    recover::{Recovered, has_sound_tables, recover, would_be_lost},
};
use crate::error::DbError;

/// The number of rounds of a repair, which starts over if another process has written between the end of the recovery,
/// during which writers wait, and the replacement of the file.
const MAX_ROUNDS: usize = 8;

/// The pause between attempts to take a lock.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The pause after a failed repair.
const RETRY_PAUSE: Duration = Duration::from_mins(1);

/// The lock that serializes repairs in this process, since file locks do not always exclude threads of the same process.
static REPAIR_LOCK: Mutex<()> = Mutex::new(());

/// A SQLite file that is repaired when an operation meets damage.
pub(crate) struct Repair {
    path: PathBuf,
    /// Whether the file has a rollback journal instead of a write-ahead log.
    rollback: bool,
    /// The name in messages.
    name: String,
    /// The identity of the file, if this process has read fleche's tables in it.
    known: Option<Place>,
    /// The earliest time of the next repair after a failed one. Otherwise each operation would copy the file.
    not_before: Mutex<Option<Instant>>,
    /// The time to wait for another process that repairs the file.
    timeout: Duration,
}

impl Repair {
    /// Creates the repair for a file that may belong to any program.
    pub(crate) fn of(path: &Path, rollback: bool, name: &str, timeout: Duration) -> Self {
        let (path, name) = (path.to_owned(), name.to_owned());
        Self { path, rollback, name, known: None, not_before: Mutex::default(), timeout }
    }

    /// Marks the file as fleche's, after its tables were read.
    pub(crate) fn known(self) -> Self {
        Self { known: Place::of(&self.path).ok(), ..self }
    }

    /// Runs the operation. If it meets damage, the file is repaired and the operation is retried once.
    ///
    /// # Errors
    /// Fails with the errors of the operation, also if it still meets damage or the file cannot be repaired.
    pub(crate) fn watch<T>(&self, mut operation: impl FnMut() -> Result<T, DbError>) -> Result<T, DbError> {
        match operation() {
            Err(failed) if failed.may_be_damage() => blocking_hooks::blocking(|| self.repair_and(operation, failed)),
            done => done,
        }
    }

    fn repair_and<T>(&self, mut operation: impl FnMut() -> Result<T, DbError>, failed: DbError) -> Result<T, DbError> {
        let Some(_lock) = poll(self.timeout, lock_repairs) else {
            return Err(failed.beyond_repair(&self.name, "another file is being repaired"));
        };
        if self.not_before().is_some_and(|moment| Instant::now() < moment) {
            return Err(failed.beyond_repair(&self.name, "the last repair failed less than a minute ago"));
        }
        let file_bytes = match self.own_file() {
            Ok(Some(file_bytes)) => file_bytes,
            Ok(None) => return Err(failed),
            Err(why) => return self.give_up(failed, &why.report().to_string()),
        };
        let files = match RepairFiles::of(&self.path, self.timeout) {
            Ok(files) => files,
            Err(why) => return self.give_up(failed, &why.report().to_string()),
        };
        // Another process may have repaired the file by now.
        let failed = match operation() {
            Err(failed) if failed.may_be_damage() => failed,
            done => return done,
        };
        let repaired = self.repair(&file_bytes, &files, &failed);
        // The next repair removes the remaining files.
        let _ = fs::remove_dir_all(&files.scratch);
        match repaired {
            Ok(true) => {}
            Ok(false) => return Err(failed),
            Err(why) => return self.give_up(failed, &why.report().to_string()),
        }
        match operation() {
            Err(failed) if failed.is_damage() => self.give_up(failed, "it is still damaged after a repair"),
            done => done,
        }
    }

    /// Opens the file if it belongs to fleche. Files of other programs are left alone.
    fn own_file(&self) -> Result<Option<FileBytes>> {
        let file_bytes = FileBytes::open(&self.path)?;
        let known = self.known.is_some() && self.known == Place::of(&self.path).ok();
        Ok(if known || file_bytes.has_own_tables()? { Some(file_bytes) } else { None })
    }

    fn not_before(&self) -> MutexGuard<'_, Option<Instant>> {
        self.not_before.lock().ignore_poison()
    }

    /// Returns the error for a file that cannot be repaired because of `why`.
    fn give_up<T>(&self, failed: DbError, why: &str) -> Result<T, DbError> {
        if !failed.is_damage() {
            return Err(failed);
        }
        *self.not_before() = Some(Instant::now() + RETRY_PAUSE);
        Err(failed.beyond_repair(&self.name, why))
    }

    /// Repairs the file if it is damaged. Returns whether the file was repaired.
    fn repair(&self, file_bytes: &FileBytes, files: &RepairFiles, failed: &DbError) -> Result<bool> {
        let copy = free_path(&files.file)?;
        if let Some(other) = file_bytes.foreign_table()? {
            return Err(would_be_lost(&self.name, &other));
        }
        let first = file_bytes.repair_header(self.rollback)?;
        let mut damaged = Damaged::open(&files.file, &self.name, self.timeout)?;
        if !failed.is_damage() && first.is_none() && damaged.has_sound_tables() {
            return Ok(false);
        }
        let kept = files.scratch.join("damaged");
        let (work, fresh) = (files.scratch.join("work"), files.scratch.join("fresh"));
        // Tells of commits of others while `damaged` holds the lock. With a rollback journal, that lock excludes readers.
        let watcher = if self.rollback { None } else { Some(Damaged::open(&files.file, &self.name, self.timeout)?) };
        let seen = || watcher.as_ref().map(Damaged::version).transpose();
        for _ in 0..MAX_ROUNDS {
            files.clean()?;
            let seen_before = seen()?;
            let (writing, before) = damaged.begin()?;
            file_bytes.copy(&kept, first.as_deref())?;
            copy_log(&files.file, &kept)?;
            copy_database(&kept, &work)?;
            FileBytes::open_copy(&work)?.repair_header(self.rollback)?;
            let recovered = recover(&work, &fresh, &self.name)?;
            back_up(&kept, &copy)?;
            drop(writing);
            if damaged.version()? != before {
                continue;
            }
            if !damaged.replace_with(&fresh, || Ok(seen()? == seen_before))? {
                continue;
            }
            let Recovered { values, records, leases, quarantined } = recovered;
            fleche_core::spi::log::warn!(
                "{} was damaged ({failed}) and has been repaired: {values} values, {records} records, {leases} claims and {quarantined} \
                 entries of `fleche_damaged` were recovered; the damaged file is kept as {}",
                self.name,
                copy.display(),
            );
            return Ok(true);
        }
        Err(Error::backend(&self.name)("other processes keep writing to it"))
    }
}

/// Calls `attempt` repeatedly until it returns an answer or the time limit is reached: SQLite does not notify when a lock is free.
fn poll<T>(timeout: Duration, attempt: impl Fn() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    loop {
        let found = attempt();
        if found.is_some() || begun.elapsed() >= timeout {
            return found;
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// Takes the lock that serializes repairs in this process, if it is free.
fn lock_repairs() -> Option<MutexGuard<'static, ()>> {
    match REPAIR_LOCK.try_lock() {
        Ok(lock) => Some(lock),
        Err(sync::TryLockError::Poisoned(lock)) => Some(lock.into_inner()),
        Err(sync::TryLockError::WouldBlock) => None,
    }
}

/// The files of a repair, locked by one process at a time.
struct RepairFiles {
    /// The file itself, after links.
    file: PathBuf,
    /// A temporary directory. If the process is killed, it stays until the next repair.
    scratch: PathBuf,
    _lock: File,
}

impl RepairFiles {
    fn of(path: &Path, timeout: Duration) -> Result<Self> {
        let file = fs::canonicalize(path).map_err(Error::io("find", path))?;
        let lock = beside(&file, ".healing");
        let opened = written_file::open(&lock, true, false).map_err(Error::io("open", &lock))?;
        let locked = poll(timeout, || match opened.try_lock() {
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Error(error)) => Some(Err(error)),
            Ok(()) => Some(Ok(())),
        });
        let held = || Err(io::Error::new(io::ErrorKind::TimedOut, "another process is repairing the file"));
        locked.unwrap_or_else(held).map_err(Error::io("lock", &lock))?;
        Ok(Self { scratch: beside(&file, ".healing.d"), file, _lock: opened })
    }

    /// Empties the temporary directory, or creates it.
    fn clean(&self) -> Result<()> {
        match fs::remove_dir_all(&self.scratch) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io("remove", &self.scratch)(error));
            }
            _ => {}
        }
        fs::create_dir(&self.scratch).map_err(Error::io("create the directory", &self.scratch))
    }
}

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

    /// Begins a transaction, during which no other connection writes. Returns it with the version that it sees.
    fn begin(&self) -> Result<(Transaction<'_>, i64)> {
        let begin = || {
            let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
            let version = version(&transaction)?;
            Ok((transaction, version))
        };
        begin().map_err(Error::backend::<rusqlite::Error>(self.store))
    }

    /// Replaces this database with the other, in one transaction, if `is_unchanged` returns `true` once no other
    /// connection can write. Returns whether the database was replaced. The journal mode stays as the header says.
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
            acquired => Ok(acquired),
        }
    }
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA data_version", [], |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, SeekFrom, Write as _};

    use rusqlite::Connection;

    use super::*;
    use crate::{
        driver::Driver,
        prepare,
        sqlite::{file::SqliteFile, file_access::FileAccess, pool::Pool},
        statement::Statement,
    };

    const MINUTE: Duration = Duration::from_mins(1);

    fn opened(path: &Path, rollback: bool) -> Result<Driver, DbError> {
        let pool = Pool::open(path, rollback, FileAccess::Full, MINUTE)?;
        let driver = Driver::Sqlite(SqliteFile { pool, repair: None });
        prepare::prepare(&driver, None, "the file")?;
        Ok(driver)
    }

    /// Opens the file, and returns the total size of its values.
    fn count(path: &Path, rollback: bool) -> Result<i64, DbError> {
        let counted = Statement::new("SELECT coalesce(sum(length(bytes)), 0) FROM fleche_values");
        Ok(opened(path, rollback)?.read(&counted, |row| row.integer(0))?[0])
    }

    /// Creates a file with values of this size, and returns a connection of another program to it.
    fn filled(path: &Path, rollback: bool, bytes: i64) -> Connection {
        fs::write(path, b"").unwrap();
        assert!(count(path, rollback).is_ok());
        let theirs = Connection::open(path).unwrap();
        theirs.execute("INSERT INTO fleche_values VALUES (zeroblob(32), 0, zeroblob(?1))", [bytes]).unwrap();
        theirs
    }

    #[test]
    fn file_is_repaired_in_both_journal_modes_while_others_have_it_open() {
        let directory = tempfile::tempdir().unwrap();
        for rollback in [false, true] {
            let path = directory.path().join(format!("db-{rollback}"));
            let theirs = filled(&path, rollback, 7);
            // Not closed, since that would release the locks of the other connection.
            let mut file = std::mem::ManuallyDrop::new(File::options().write(true).open(&path).unwrap());
            let _ = theirs.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
            for (at, damage) in [(0, vec![0xff; 24]), (100, vec![0; 12]), (0, vec![0; 5000])] {
                file.seek(SeekFrom::Start(at)).unwrap();
                file.write_all(&damage).unwrap();
                let repair_state = Repair::of(&path, rollback, "the file", MINUTE).known();
                assert_eq!(repair_state.watch(|| count(&path, rollback)).unwrap(), 7);
                let counted = "SELECT sum(length(bytes)) FROM fleche_values";
                assert_eq!(theirs.query_row(counted, [], |row| row.get::<_, i64>(0)).unwrap(), 7);
                let journal: String = theirs.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
                assert_eq!(journal, if rollback { "delete" } else { "wal" });
                theirs.execute("UPDATE fleche_values SET put = put + 1", []).unwrap();
                let _ = theirs.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
            }
        }
    }

    #[test]
    fn errors_other_than_damage_are_returned_unchanged_without_a_copy() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        let _theirs = filled(&path, false, 7);
        let repair_state = Repair::of(&path, false, "the file", MINUTE).known();
        let wrong = || {
            let read = Statement::new("SELECT unknown FROM fleche_values");
            opened(&path, false)?.read(&read, |_| Ok(()))
        };
        let error = repair_state.watch(wrong).unwrap_err().to_string();
        assert!(error.contains("no such column") && !error.contains("damaged"), "{error}");
        assert!(!beside(&path, ".damaged-1").exists());
    }
}
