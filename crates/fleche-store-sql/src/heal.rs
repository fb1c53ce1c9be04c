//! Healing a damaged file of SQLite: what can be read is brought over into a new database, which takes the place of the
//! damaged one, in the same file.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::{self, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use fleche_core::{Error, Result, store::Place, waiting, written_file};

use crate::{
    error::{Failed, beyond_healing},
    keep::{beside, duplicate, free_place, keep, with_log},
    overwrite::Damaged,
    raw::Raw,
    salvage::{Salvaged, salvage, would_be_lost},
};

/// One begins again where others have written meanwhile, and then, so that it comes to an end, keeps them waiting: they are
/// shut out until what they would change is overwritten, but for the moment in between.
const ROUNDS: [bool; 4] = [false, true, true, true];

/// The pause between attempts to take a lock.
const OFTEN: Duration = Duration::from_millis(10);

/// So long nobody tries again where it has failed.
const PAUSE: Duration = Duration::from_mins(1);

/// One file heals at a time in this process; locks of files need not tell threads apart.
static TURN: Mutex<()> = Mutex::new(());

/// A file of SQLite that is healed when an operation meets damage.
pub(crate) struct Healing {
    path: PathBuf,
    /// Whether the file is to have a rollback journal in place of a write-ahead log.
    rollback: bool,
    /// For messages.
    name: String,
    /// The file in which this process has read our tables.
    known: Option<Place>,
    /// What did not heal is not tried again for a while: it would be copied with each operation.
    not_before: Mutex<Option<Instant>>,
    /// How long to wait for another process that repairs the file.
    timeout: Duration,
}

impl Healing {
    /// Of a file that may be anybody's.
    pub(crate) fn of(path: &Path, rollback: bool, name: &str, timeout: Duration) -> Self {
        let (path, name) = (path.to_owned(), name.to_owned());
        Self { path, rollback, name, known: None, not_before: Mutex::default(), timeout }
    }

    /// The same, once our tables were read in the file.
    pub(crate) fn known(self) -> Self {
        Self { known: Place::of(&self.path).ok(), ..self }
    }

    /// What the operation gives. Where it meets damage, the file is healed, and the operation done once more.
    ///
    /// # Errors
    /// Those of the operation; [`Error::Backend`] if it still meets damage, or the file cannot be healed.
    pub(crate) fn watch<T>(&self, operation: impl Fn() -> Result<T, Failed>) -> Result<T> {
        match operation() {
            Err(failed) if failed.may_be_damage() => waiting::blocking(|| self.heal_and(operation, failed)),
            done => done.map_err(|failed| failed.into_error(&self.name)),
        }
    }

    fn heal_and<T>(&self, operation: impl Fn() -> Result<T, Failed>, failed: Failed) -> Result<T> {
        let Some(_turn) = within(self.timeout, turn) else {
            return Err(beyond_healing(&self.name, &failed, "another file heals"));
        };
        if self.not_before().is_some_and(|moment| Instant::now() < moment) {
            return Err(beyond_healing(&self.name, &failed, "it was tried a moment ago"));
        }
        let raw = match self.ours() {
            Ok(Some(raw)) => raw,
            Ok(None) => return Err(failed.into_error(&self.name)),
            Err(why) => return self.give_up(failed, &why.to_string()),
        };
        let places = match Places::of(&self.path, self.timeout) {
            Ok(places) => places,
            Err(why) => return self.give_up(failed, &why.to_string()),
        };
        // Somebody else may have healed it meanwhile.
        let failed = match operation() {
            Err(failed) if failed.may_be_damage() => failed,
            done => return done.map_err(|failed| failed.into_error(&self.name)),
        };
        let healed = self.heal(&raw, &places, &failed);
        // What stays is removed by who heals next.
        let _ = fs::remove_dir_all(&places.scratch);
        match healed {
            Ok(true) => {}
            Ok(false) => return Err(failed.into_error(&self.name)),
            Err(why) => return self.give_up(failed, &why.to_string()),
        }
        match operation() {
            Err(failed) if failed.is_damage() => self.give_up(failed, "it is damaged again"),
            done => done.map_err(|failed| failed.into_error(&self.name)),
        }
    }

    /// The file, if it is ours: what belongs to others stays as it is.
    fn ours(&self) -> Result<Option<Raw>> {
        let raw = Raw::open(&self.path)?;
        let known = self.known.is_some() && self.known == Place::of(&self.path).ok();
        Ok(if known || raw.tells_of_us()? { Some(raw) } else { None })
    }

    fn not_before(&self) -> MutexGuard<'_, Option<Instant>> {
        self.not_before.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The error where the file cannot be healed because of `why`.
    fn give_up<T>(&self, failed: Failed, why: &str) -> Result<T> {
        if !failed.is_damage() {
            return Err(failed.into_error(&self.name));
        }
        *self.not_before() = Some(Instant::now() + PAUSE);
        Err(beyond_healing(&self.name, &failed, why))
    }

    /// Whether there was damage, which is healed then.
    fn heal(&self, raw: &Raw, places: &Places, failed: &Failed) -> Result<bool> {
        let copy = free_place(&places.file)?;
        if let Some(other) = raw.tells_of_others()? {
            return Err(would_be_lost(&self.name, &other));
        }
        let first = raw.mend_header(self.rollback)?;
        let mut damaged = Damaged::open(&places.file, &self.name, self.timeout)?;
        if !failed.is_damage() && first.is_none() && damaged.serves() {
            return Ok(false);
        }
        let kept = places.scratch.join("damaged");
        let (work, fresh) = (places.scratch.join("work"), places.scratch.join("fresh"));
        for alone in ROUNDS {
            places.clean()?;
            let (reading, before) = damaged.begin(alone)?;
            raw.copy(&kept, first.as_deref())?;
            with_log(&places.file, &kept)?;
            let writing = alone.then_some(reading);
            duplicate(&kept, &work)?;
            Raw::open_copy(&work)?.mend_header(self.rollback)?;
            let salvaged = salvage(&work, &fresh, &self.name)?;
            keep(&kept, &copy)?;
            drop(writing);
            if damaged.version()? != before {
                continue;
            }
            damaged.overwrite_with(&fresh)?;
            let Salvaged { values, records, leases, aside } = salvaged;
            fleche_core::log::warn!(
                "{} was damaged ({failed}) and is healed: {values} values, {records} records, {leases} claims and {aside} \
                 entries of `fleche_damaged` were brought over; the damaged file is kept as {}",
                self.name,
                copy.display(),
            );
            return Ok(true);
        }
        Err(Error::backend(&self.name)("others write to it all the time"))
    }
}

/// Asks repeatedly until there is an answer or the time is over: SQLite does not notify when a lock is free.
fn within<T>(timeout: Duration, ask: impl Fn() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    loop {
        let found = ask();
        if found.is_some() || begun.elapsed() >= timeout {
            return found;
        }
        thread::sleep(OFTEN);
    }
}

/// Takes the lock among the threads that repair the file, if it is free.
fn turn() -> Option<MutexGuard<'static, ()>> {
    match TURN.try_lock() {
        Ok(turn) => Some(turn),
        Err(sync::TryLockError::Poisoned(turn)) => Some(turn.into_inner()),
        Err(sync::TryLockError::WouldBlock) => None,
    }
}

/// Where a file is healed, by one process at a time.
struct Places {
    /// The file itself: links lead to it.
    file: PathBuf,
    /// A directory that ends with the healing; one of a process that was killed is there until the next.
    scratch: PathBuf,
    _lock: File,
}

impl Places {
    fn of(path: &Path, timeout: Duration) -> Result<Self> {
        let file = fs::canonicalize(path).map_err(Error::io("find", path))?;
        let lock = beside(&file, ".healing");
        let opened = written_file::open(&lock, true, false).map_err(Error::io("open", &lock))?;
        let locked = within(timeout, || match opened.try_lock() {
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Error(error)) => Some(Err(error)),
            Ok(()) => Some(Ok(())),
        });
        let held = || Err(io::Error::new(io::ErrorKind::TimedOut, "another process heals the file"));
        locked.unwrap_or_else(held).map_err(Error::io("lock", &lock))?;
        Ok(Self { scratch: beside(&file, ".healing.d"), file, _lock: opened })
    }

    /// Leaves an empty scratch directory.
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

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, SeekFrom, Write as _};

    use rusqlite::Connection;

    use super::*;
    use crate::{access::FileAccess, connect, runtime, schema, statement::Statement};

    const MINUTE: Duration = Duration::from_mins(1);

    /// Opens the file, and counts its values.
    fn count(path: &Path, rollback: bool) -> Result<i64, Failed> {
        let path = path.to_owned();
        let counted = async move {
            let link = connect::to_file(&path, rollback, FileAccess::Full, MINUTE).await?;
            schema::prepare(&link, None, "the file").await?;
            let rows = link.read(&Statement::new("SELECT sum(length(bytes)) FROM fleche_values")).await;
            link.close().await;
            Ok(rows?[0].integer(0)?)
        };
        runtime::run("the file", async move { Ok(counted.await) })?
    }

    /// A file with so many bytes in values, and a connection to it of somebody else.
    fn filled(path: &Path, rollback: bool, bytes: i64) -> Connection {
        fs::write(path, b"").unwrap();
        assert!(count(path, rollback).is_ok());
        let theirs = Connection::open(path).unwrap();
        theirs.execute("INSERT INTO fleche_values VALUES (zeroblob(32), 0, zeroblob(?1))", [bytes]).unwrap();
        theirs
    }

    #[test]
    fn a_file_heals_with_either_journal_while_somebody_else_has_it_open() {
        let directory = tempfile::tempdir().unwrap();
        for rollback in [false, true] {
            let path = directory.path().join(format!("db-{rollback}"));
            let theirs = filled(&path, rollback, 7);
            // Not closed: that would end the locks of the other connection.
            let mut file = std::mem::ManuallyDrop::new(File::options().write(true).open(&path).unwrap());
            let _ = theirs.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
            for (at, damage) in [(0, vec![0xff; 24]), (100, vec![0; 12]), (0, vec![0; 5000])] {
                file.seek(SeekFrom::Start(at)).unwrap();
                file.write_all(&damage).unwrap();
                let healing = Healing::of(&path, rollback, "the file", MINUTE).known();
                assert_eq!(healing.watch(|| count(&path, rollback)).unwrap(), 7);
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
    fn what_is_no_damage_is_told_as_it_is_and_nothing_is_copied() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        let _theirs = filled(&path, false, 7);
        let healing = Healing::of(&path, false, "the file", MINUTE).known();
        let wrong = || {
            let path = path.clone();
            let read = async move {
                let link = connect::to_file(&path, false, FileAccess::Full, MINUTE).await?;
                let read = link.read(&Statement::new("SELECT unknown FROM fleche_values")).await;
                link.close().await;
                Ok(read.map(drop)?)
            };
            runtime::run("the file", async move { Ok(read.await) })?
        };
        let error = healing.watch(wrong).unwrap_err().to_string();
        assert!(error.contains("no such column") && !error.contains("damaged"), "{error}");
        assert!(!beside(&path, ".damaged-1").exists());
    }
}
