//! Repair of a damaged SQLite file: the readable entries are copied to a new database, which then replaces the content of the
//! file under SQLite's locks, so that processes that have it open see the new database.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use fleche_core::{
    Error, Result,
    job::blocking_hooks,
    spi::counted,
    store::kit::{LockResultExt as _, Place, StoreName, beside, log, written_file},
};
use rusqlite::{
    Connection, OpenFlags,
    backup::{Backup, StepResult},
    config::DbConfig,
};

use super::{
    files::{FileBytes, back_up, copy_database, copy_log, free_path},
    recover::{Recovered, create, has_sound_tables, recover, would_be_lost},
};
use crate::error::DbError;

/// The pause between attempts to lock the repair. A file lock does not notify when it is free.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The pause after a failed repair.
const RETRY_PAUSE: Duration = Duration::from_mins(1);

/// A SQLite file that is repaired when an operation meets damage.
pub(crate) struct Repair {
    path: PathBuf,
    /// Whether the file has a rollback journal instead of a write-ahead log.
    rollback: bool,
    name: StoreName,
    /// The identity of the file, if this process has read fleche's tables in it.
    known: Option<Place>,
    /// The time to wait for another process that repairs the file.
    timeout: Duration,
    /// The earliest time of the next repair after a failed one. Otherwise each operation would copy the file. Locked
    /// during a repair, since file locks do not always exclude threads of the same process.
    not_before: Mutex<Option<Instant>>,
}

impl Repair {
    /// Creates the repair for a file that may belong to any program.
    pub(crate) fn new(path: &Path, rollback: bool, name: StoreName, timeout: Duration) -> Self {
        Self { path: path.to_owned(), rollback, name, known: None, timeout, not_before: Mutex::default() }
    }

    /// Marks the file as fleche's, after its tables were read.
    pub(crate) fn known(self) -> Self {
        Self { known: Place::new(&self.path).ok(), ..self }
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
        let mut not_before = self.not_before.lock().ignore_poison();
        if not_before.is_some_and(|moment| Instant::now() < moment) {
            return Err(failed.beyond_repair(&self.name, "the last repair failed less than a minute ago"));
        }
        let mut give_up = |failed: DbError, why: &str| {
            if !failed.is_damage() {
                return failed;
            }
            *not_before = Some(Instant::now() + RETRY_PAUSE);
            failed.beyond_repair(&self.name, why)
        };
        let begun = self
            .own_file()
            .and_then(|file| file.map(|file| Ok((file, RepairFiles::lock(&self.path, self.timeout)?))).transpose());
        let (file_bytes, files) = match begun {
            Ok(Some(begun)) => begun,
            Ok(None) => return Err(failed),
            Err(why) => return Err(give_up(failed, &why.report().to_string())),
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
            Err(why) => return Err(give_up(failed, &why.report().to_string())),
        }
        operation().map_err(|failed| give_up(failed, "it is still damaged after a repair"))
    }

    /// Opens the file if it belongs to fleche. Files of other programs are left alone.
    fn own_file(&self) -> Result<Option<FileBytes>> {
        let file_bytes = FileBytes::open(&self.path)?;
        let known = self.known.is_some() && self.known == Place::new(&self.path).ok();
        Ok(if known || file_bytes.has_own_tables()? { Some(file_bytes) } else { None })
    }

    /// Repairs the file if it is damaged. Returns whether the file was repaired.
    fn repair(&self, file_bytes: &FileBytes, files: &RepairFiles, failed: &DbError) -> Result<bool> {
        let copy = free_path(&files.file)?;
        if let Some(other) = file_bytes.foreign_table()? {
            return Err(would_be_lost(&self.name, &other));
        }
        let first = file_bytes.repair_header(self.rollback)?;
        let mut damaged = open_damaged(&files.file, self.timeout).map_err(self.name.backend())?;
        if !failed.is_damage() && first.is_none() && has_sound_tables(&damaged) {
            return Ok(false);
        }
        files.empty_scratch()?;
        let [kept, work, fresh] = ["damaged", "work", "fresh"].map(|name| files.scratch.join(name));
        create(&fresh).map_err(self.name.backend())?;
        let recovered = self.replace(&mut damaged, &fresh, || {
            file_bytes.copy(&kept, first.as_deref())?;
            copy_log(&files.file, &kept)?;
            copy_database(&kept, &work)?;
            FileBytes::open_copy(&work)?.repair_header(self.rollback)?;
            let recovered = recover(&work, &fresh, &self.name)?;
            back_up(&kept, &copy)?;
            Ok(recovered)
        });
        let Recovered { values, records, leases, quarantined } = recovered?;
        log::warn!(
            "{} was damaged ({failed}) and has been repaired: {}, {}, {} and {} of `fleche_damaged` could be read and are kept; \
             the damaged file is kept as {}",
            self.name,
            counted(values, "value", "values"),
            counted(records, "record", "records"),
            counted(leases, "claim", "claims"),
            counted(quarantined, "entry", "entries"),
            copy.display(),
        );
        Ok(true)
    }

    /// Replaces the damaged database with the other one in a single transaction. `fill` puts the content into the other
    /// one, while no connection can write to the damaged one. The journal mode stays as the header says.
    fn replace<T>(&self, damaged: &mut Connection, other: &Path, fill: impl FnOnce() -> Result<T>) -> Result<T> {
        let sqlite = || self.name.backend::<rusqlite::Error>();
        let other = Connection::open_with_flags(other, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(sqlite())?;
        // Makes SQLite treat the file as empty, regardless of its content.
        damaged.set_db_config(DbConfig::SQLITE_DBCONFIG_RESET_DATABASE, true).map_err(sqlite())?;
        let backup = Backup::new(&other, damaged).map_err(sqlite())?;
        let locked = |step| self.name.backend()(format!("other processes have it locked ({step:?})"));
        // The first step takes the lock for writing. A backup that is dropped before its last step changes nothing.
        match backup.step(1).map_err(sqlite())? {
            StepResult::More => {}
            step => return Err(locked(step)),
        }
        let filled = fill()?;
        // SQLite begins again, since the other database has changed.
        match backup.step(-1).map_err(sqlite())? {
            StepResult::Done => Ok(filled),
            step => Err(locked(step)),
        }
    }
}

/// Opens a damaged file, whose header is sound. The connection waits up to `timeout` for locks.
fn open_damaged(path: &Path, timeout: Duration) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.busy_timeout(timeout)?;
    // Makes SQLite read a truncated file.
    connection.pragma_update(None, "writable_schema", true)?;
    // Makes SQLite open the log, as the header requires. Later, SQLite would take the file for one without a log.
    connection.query_row("PRAGMA data_version", [], |_| Ok(()))?;
    Ok(connection)
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
    fn lock(path: &Path, timeout: Duration) -> Result<Self> {
        let file = fs::canonicalize(path).map_err(Error::io("find", path))?;
        let lock = beside(&file, ".healing");
        let failed = |error| Error::io("lock", &lock)(error);
        let opened = written_file::open(&lock, true, false).map_err(failed)?;
        let begun = Instant::now();
        while let Err(error) = opened.try_lock() {
            match error {
                TryLockError::WouldBlock if begun.elapsed() < timeout => thread::sleep(POLL_INTERVAL),
                TryLockError::WouldBlock => {
                    let why = "another process is repairing the file";
                    return Err(failed(io::Error::new(io::ErrorKind::TimedOut, why)));
                }
                TryLockError::Error(error) => return Err(failed(error)),
            }
        }
        Ok(Self { scratch: beside(&file, ".healing.d"), file, _lock: opened })
    }

    /// Empties the temporary directory, or creates it.
    fn empty_scratch(&self) -> Result<()> {
        match fs::remove_dir_all(&self.scratch) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", &self.scratch)(error)),
            _ => fs::create_dir(&self.scratch).map_err(Error::io("create the directory", &self.scratch)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, SeekFrom, Write as _};

    use super::*;
    use crate::{
        driver::Driver,
        prepare,
        sqlite::{file_access::FileAccess, pool::Pool},
        statement::Statement,
    };

    const MINUTE: Duration = Duration::from_mins(1);

    fn name() -> StoreName {
        StoreName::new("sql store", "test")
    }

    fn opened(path: &Path, rollback: bool) -> Result<Driver, DbError> {
        let pool = Pool::open(path, rollback, FileAccess::Full, MINUTE)?;
        let driver = Driver::Sqlite(pool);
        prepare::prepare(&driver, None, &name())?;
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
                let repair_state = Repair::new(&path, rollback, name(), MINUTE).known();
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
        let repair_state = Repair::new(&path, false, name(), MINUTE).known();
        let wrong = || {
            let read = Statement::new("SELECT unknown FROM fleche_values");
            opened(&path, false)?.read(&read, |_| Ok(()))
        };
        let error = repair_state.watch(wrong).unwrap_err().to_string();
        assert!(error.contains("no such column") && !error.contains("damaged"), "{error}");
        assert!(!beside(&path, ".damaged-1").exists());
    }
}
