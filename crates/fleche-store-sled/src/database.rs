//! `Database`: an open directory, which all its handles share.

use std::{
    fs::{self, File},
    io::ErrorKind,
    ops::Deref,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock},
    thread,
    time::Duration,
};

use fleche_core::{
    Digest, Error, Result,
    store::kit::{
        BackingFile, FileBacked, LockResultExt as _, OpenDatabase, OpenPlaceGuard, OpenStores, Place, StoreName, log,
        written_file,
    },
};
use sled::Db;

use crate::{
    engine::{Engine, is_unclosed},
    error::{blocked, catch_panic, failed, is_locked, opening, unclosed},
};

/// An open directory. Dropping it writes everything to disk and closes it.
///
/// After a failed write, sled may block forever when it writes, reads from disk, flushes or is closed. Therefore the first
/// failure is recorded, and no further operation that may block is passed to sled.
pub(crate) struct Database {
    /// The absolute path under which the directory was first opened.
    pub(crate) path: PathBuf,
    name: StoreName,
    /// The engine; `None` only while the database is dropped.
    engine: Option<Engine>,
    /// The handle through which sled reports an error of its own threads.
    config: sled::Config,
    /// The message of the first failed write.
    failure: OnceLock<String>,
    /// Locks that make a read followed by writes to several trees atomic. The digest selects the lock.
    locks: [Mutex<()>; LOCKS],
    /// One of sled's files, which shows whether the directory is still the one that was opened.
    file: BackingFile<Self>,
    // Dropped after the engine, so that the directory is closed when another thread opens it again.
    guard: DirectoryGuard,
}

const LOCKS: usize = 64;
/// The interval at which sled writes to disk, in milliseconds.
const FLUSH_EVERY: u64 = 100;
/// The size of sled's cache in memory, in bytes.
const CACHE: u64 = 1 << 28;
const FORMAT: (&str, u64) = ("format", 1);
/// The tree that every sled database has.
const DEFAULT_TREE: &[u8] = b"__sled__default";

static OPEN: OpenStores<Place, Database> = OpenStores::new();

impl Database {
    /// Opens the database in this directory, creating the directory if it is missing.
    pub(crate) fn open(path: &Path) -> Result<Arc<Self>> {
        let (path, place) = Place::create_directory(path)?;
        OPEN.get_or_open(place.clone(), || {
            let name = StoreName::new("sled database", path.display());
            // Another thread may have dropped the last handle and not have finished closing the directory.
            let guard = DirectoryGuard::take(place, path.join("db"));
            if !path.join("conf").exists() && fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_some()) {
                return Err(
                    name.config("there is something else in this directory: give the store a directory of its own")
                );
            }
            for name in ["conf", "db"] {
                written_file::check_beside(&path.join(name)).map_err(Error::io("open the sled database", &path))?;
            }
            name.check_writable(&[path.clone(), path.join("db"), path.join("conf")])?;
            let config = sled::Config::new().path(&path).flush_every_ms(Some(FLUSH_EVERY)).cache_capacity(CACHE);
            let sled = catch_panic(|| config.open()).map_err(|error| match error {
                sled::Error::Io(error) if is_locked(&error) && is_unclosed(&guard.place) => unclosed(&name),
                error => opening(&name, &path, error),
            })?;
            check_format(&name, &path, &sled)?;
            let tree = |tree: &str| catch_panic(|| sled.open_tree(tree)).map_err(|error| opening(&name, &path, error));
            let file = BackingFile::new(path.join("db"))?;
            let engine = Engine {
                values: tree("values")?,
                ages: tree("ages")?,
                records: tree("records")?,
                calls: tree("calls of functions")?,
                damaged: tree("damaged")?,
                sled,
            };
            Ok(Self {
                engine: Some(engine),
                config,
                failure: OnceLock::new(),
                locks: [const { Mutex::new(()) }; LOCKS],
                file,
                guard,
                name,
                path,
            })
        })
    }

    /// Runs an operation of sled that only reads, and converts its error.
    pub(crate) fn run<T>(&self, run: impl FnOnce() -> sled::Result<T>) -> Result<T> {
        // If sled knows of the failure, what it has in memory can still be read, and other reads fail without blocking.
        if let Some(failure) = self.failure.get()
            && self.config.global_error().is_ok()
        {
            return Err(failed(&self.name, failure));
        }
        catch_panic(run).map_err(|error| self.name.backend()(error.to_string()))
    }

    /// Fails if an entry of this length may alone exceed the limit on the size of files. sled writes large entries to files of
    /// their own, together with their neighbours, and can no longer be used once it has failed to write one.
    pub(crate) fn check_size(&self, length: usize) -> Result<()> {
        written_file::check_limit(4 * length as u64).map_err(Error::io("write to", &self.path))
    }

    /// Like [`run`](Self::run), for an operation that reads an entry and modifies it, under the lock of its digest.
    pub(crate) fn change<T>(&self, digest: &Digest, run: impl FnOnce() -> sled::Result<T>) -> Result<T> {
        let _lock = self.lock(digest);
        if let Some(failure) = self.failure() {
            return Err(failed(&self.name, failure));
        }
        catch_panic(run).map_err(|error| {
            match &error {
                // The file of a large entry is missing or too short, which does no harm to writes.
                sled::Error::Io(why) if matches!(why.kind(), ErrorKind::NotFound | ErrorKind::UnexpectedEof) => {}
                sled::Error::Io(_) => self.record_failure(&error),
                _ => {}
            }
            self.name.backend()(error.to_string())
        })
    }

    /// Records a failed write, unless an earlier one is known.
    fn record_failure(&self, error: &sled::Error) {
        let why = error.to_string();
        if self.failure.set(why.clone()).is_ok() {
            log::warn!("{}", failed(&self.name, &why).report());
        }
    }

    /// Returns the message of the first failed write, including writes of sled's own threads, if there was one.
    fn failure(&self) -> Option<&str> {
        if self.failure.get().is_none()
            && let Err(error) = self.config.global_error()
        {
            self.record_failure(&error);
        }
        self.failure.get().map(String::as_str)
    }

    // The mutex protects no data that a panic could leave half modified.
    fn lock(&self, digest: &Digest) -> MutexGuard<'_, ()> {
        self.locks[usize::from(digest.as_bytes()[0]) % LOCKS].lock().ignore_poison()
    }

    /// Returns once all earlier writes are on disk.
    pub(crate) fn sync(&self) -> Result<()> {
        if let Some(failure) = self.failure() {
            return Err(failed(&self.name, failure));
        }
        let flushed =
            self.flush(|| self.failure().is_some()).map_err(Error::io("start a thread to write", &self.path))?;
        match flushed {
            Some(flushed) => flushed.map_err(|error| {
                self.record_failure(&error);
                self.name.backend()(error.to_string())
            }),
            None => Err(match self.failure() {
                Some(failure) => failed(&self.name, failure),
                None => blocked(&self.name),
            }),
        }
    }
}

impl Deref for Database {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        self.engine.as_ref().expect("only the drop of the database takes the engine")
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let Some(engine) = self.engine.take() else { return };
        let is_closed = engine.close(&self.guard.place, || self.failure().is_some());
        if !is_closed {
            self.guard.is_closed = false;
            if self.failure.get().is_none() {
                log::warn!("the last entries may be lost: {}", blocked(&self.name).report());
            }
        }
    }
}

impl OpenDatabase for Database {
    fn name(&self) -> &StoreName {
        &self.name
    }
}

impl FileBacked for Database {
    fn backing_file(&self) -> Option<&BackingFile<Self>> {
        Some(&self.file)
    }

    fn open_again(&self) -> Result<Arc<Self>> {
        Self::open(&self.path)
    }
}

/// Marks a new database as fleche's, and refuses databases of other programs and later formats.
fn check_format(name: &StoreName, path: &Path, sled: &Db) -> Result<()> {
    let run = catch_panic(|| {
        let names = sled.tree_names();
        let is_own = names.iter().any(|name| **name == *b"fleche");
        let has_content = names.iter().any(|name| **name != *DEFAULT_TREE) || !sled.is_empty();
        if has_content && !is_own {
            return Ok(Err("this sled database belongs to another program: give the store a directory of its own"));
        }
        let marker = sled.open_tree("fleche")?;
        match marker.get(FORMAT.0)? {
            Some(format) if *format == FORMAT.1.to_be_bytes() => Ok(Ok(())),
            Some(_) => Ok(Err(
                "a later version of fleche has written this database: use that version, or give the store another directory",
            )),
            None => marker.insert(FORMAT.0, &FORMAT.1.to_be_bytes()).map(|_| Ok(())),
        }
    });
    run.map_err(|error| opening(name, path, error))?.map_err(|why| name.config(why))
}

/// The exclusive right within this process to open a directory.
struct DirectoryGuard {
    /// The file that sled locks.
    locked_file: PathBuf,
    /// Whether sled closes the directory. Otherwise, the file stays locked.
    is_closed: bool,
    place: Place,
    _in_process: OpenPlaceGuard,
}

impl DirectoryGuard {
    /// Blocks until no other thread of this process has the directory open.
    fn take(place: Place, locked_file: PathBuf) -> Self {
        Self { locked_file, is_closed: true, place: place.clone(), _in_process: OpenPlaceGuard::take(place) }
    }
}

/// The number of times that the drop checks, at the interval below, whether sled's threads have closed the directory.
const CLOSE_CHECKS: usize = 1000;
const CHECK_INTERVAL: Duration = Duration::from_millis(1);

impl Drop for DirectoryGuard {
    fn drop(&mut self) {
        if !self.is_closed {
            return;
        }
        // sled's threads may keep the directory open and locked for a moment after the last handle is dropped, and it
        // could not be opened again before.
        if let Ok(file) = File::open(&self.locked_file) {
            // Unlocked at once: a child that another thread has just forked may keep the file open.
            let is_free = || file.try_lock().is_ok() && file.unlock().is_ok();
            for _ in 0..CLOSE_CHECKS {
                if is_free() {
                    break;
                }
                thread::park_timeout(CHECK_INTERVAL);
            }
        }
    }
}
