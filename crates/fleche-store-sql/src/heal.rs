//! Healing a damaged file of SQLite: what can be read is brought over into a new database, which takes the place of the
//! damaged one, in the same file.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use fleche_core::{Error, Result, waiting};

use crate::{
    error::{Failed, beyond_healing},
    keep::{beside, duplicate, free_place, keep, with_log},
    overwrite::Damaged,
    raw::Raw,
    salvage::{Salvaged, salvage},
};

/// How often one begins again because others have written meanwhile.
const ROUNDS: u32 = 3;

/// One file heals at a time in this process; locks of files need not tell threads apart.
static TURN: Mutex<()> = Mutex::new(());

/// A file of SQLite that is healed when an operation meets damage.
pub(crate) struct Healing {
    path: PathBuf,
    /// Whether the file is to have a rollback journal in place of a write-ahead log.
    rollback: bool,
    /// For messages.
    name: String,
    /// Whether this process has read our tables in it.
    known: bool,
    /// What did not heal once is not tried again: it would be copied with each operation.
    given_up: AtomicBool,
}

impl Healing {
    /// Of a file that may be anybody's.
    pub(crate) fn of(path: &Path, rollback: bool, name: &str) -> Self {
        let (path, name) = (path.to_owned(), name.to_owned());
        Self { path, rollback, name, known: false, given_up: AtomicBool::new(false) }
    }

    /// The same, once our tables were read in the file.
    pub(crate) fn known(self) -> Self {
        Self { known: true, ..self }
    }

    /// What the operation gives. Where it meets damage, the file is healed, and the operation done once more.
    ///
    /// # Errors
    /// Those of the operation; [`Error::Backend`] if it still meets damage, or the file cannot be healed.
    pub(crate) fn watch<T>(&self, operation: impl Fn() -> Result<T, Failed>) -> Result<T> {
        match operation() {
            Err(failed) if failed.is_damage() => waiting::blocking(|| self.heal_and(operation, failed)),
            done => done.map_err(|failed| failed.into_error(&self.name)),
        }
    }

    fn heal_and<T>(&self, operation: impl Fn() -> Result<T, Failed>, failed: Failed) -> Result<T> {
        let beyond = |failed: Failed, why: &str| {
            self.given_up.store(true, Ordering::Relaxed);
            Err(beyond_healing(&self.name, &failed, why))
        };
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        if self.given_up.load(Ordering::Relaxed) {
            return beyond(failed, "it was tried before");
        }
        let raw = match self.ours() {
            Ok(Some(raw)) => raw,
            Ok(None) => return Err(failed.into_error(&self.name)),
            Err(why) => return beyond(failed, &why.to_string()),
        };
        let places = match Places::of(&self.path) {
            Ok(places) => places,
            Err(why) => return beyond(failed, &why.to_string()),
        };
        // Somebody else may have healed it meanwhile.
        let failed = match operation() {
            Err(failed) if failed.is_damage() => failed,
            done => return done.map_err(|failed| failed.into_error(&self.name)),
        };
        let healed = self.heal(&raw, &places, &failed);
        // What stays is removed by who heals next.
        let _ = fs::remove_dir_all(&places.scratch);
        if let Err(why) = healed {
            return beyond(failed, &why.to_string());
        }
        match operation() {
            Err(failed) if failed.is_damage() => beyond(failed, "it is damaged again"),
            done => done.map_err(|failed| failed.into_error(&self.name)),
        }
    }

    /// The file, if it is ours: what belongs to others stays as it is.
    fn ours(&self) -> Result<Option<Raw>> {
        let raw = Raw::open(&self.path)?;
        Ok(if self.known || raw.tells_of_us()? { Some(raw) } else { None })
    }

    fn heal(&self, raw: &Raw, places: &Places, failed: &Failed) -> Result<()> {
        let copy = free_place(&places.file)?;
        let kept = places.scratch.join("damaged");
        let (work, fresh) = (places.scratch.join("work"), places.scratch.join("fresh"));
        let first = raw.mend_header(self.rollback)?;
        let mut damaged = Damaged::open(&places.file, &self.name)?;
        for _ in 0..ROUNDS {
            places.clean()?;
            let before = damaged.while_unchanged(|| {
                raw.copy(&kept, first.as_deref())?;
                with_log(&places.file, &kept)
            })?;
            duplicate(&kept, &work)?;
            Raw::open_copy(&work)?.mend_header(self.rollback)?;
            let salvaged = salvage(&work, &fresh, &self.name)?;
            if damaged.version()? != before {
                continue;
            }
            keep(&kept, &copy)?;
            damaged.overwrite_with(&fresh, self.rollback)?;
            let Salvaged { values, records, leases, aside } = salvaged;
            tracing::warn!(
                "{} was damaged ({failed}) and is healed: {values} values, {records} records, {leases} claims and {aside} \
                 entries of `fleche_damaged` were brought over; the damaged file is kept as {}",
                self.name,
                copy.display(),
            );
            return Ok(());
        }
        Err(Error::backend(&self.name)("others write to it all the time"))
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
    fn of(path: &Path) -> Result<Self> {
        let file = fs::canonicalize(path).map_err(Error::io("find", path))?;
        let lock = beside(&file, ".healing");
        let opened = File::options().create(true).truncate(false).write(true).open(&lock);
        let opened = opened.and_then(|opened| opened.lock().map(|()| opened));
        let opened = opened.map_err(Error::io("lock", &lock))?;
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
