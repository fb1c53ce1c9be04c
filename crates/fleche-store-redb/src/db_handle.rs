//! `DbHandle`: opens redb, verifies the file, and survives a failure to close it. `Integrity`: the known faults of an open
//! file, and the time of the next repair.

use std::{
    cmp,
    fs::{self, File},
    io, mem,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use fleche_core::{
    Error, Result,
    store::kit::{LockResultExt as _, Place, StoreName, log, written_file},
};
use redb::{
    Builder, ReadTransaction, ReadableDatabase as _, StorageBackend as _, TableHandle as _, backends::InMemoryBackend,
};

use crate::{
    error::{catch_panic, is_damage},
    repair_files::Files,
    tables::{FLECHE, FORMAT, create},
};

/// The size of redb's cache in memory, in bytes.
const CACHE: usize = 1 << 28;

/// A database that is closed when this is dropped, even if damaged pages make redb panic.
pub(crate) struct DbHandle {
    redb: Option<Redb>,
    /// Whether the file must no longer be written to.
    is_damaged: bool,
}

/// An open redb database, with the access that this user has to the file.
pub(crate) enum Redb {
    Full(redb::Database),
    ReadOnly(redb::ReadOnlyDatabase),
}

impl From<Redb> for DbHandle {
    fn from(redb: Redb) -> Self {
        Self { redb: Some(redb), is_damaged: false }
    }
}

impl Redb {
    pub(crate) fn begin_read(&self) -> Result<ReadTransaction, redb::Error> {
        Ok(match self {
            Self::Full(redb) => redb.begin_read()?,
            Self::ReadOnly(redb) => redb.begin_read()?,
        })
    }
}

impl DbHandle {
    /// Returns the database for writing.
    pub(crate) fn get(&self) -> Result<&redb::Database, redb::Error> {
        match &self.redb {
            Some(Redb::Full(redb)) => Ok(redb),
            Some(Redb::ReadOnly(_)) => Err(cannot_be_written()),
            None => Err(closed()),
        }
    }

    pub(crate) fn get_mut(&mut self) -> Result<&mut redb::Database, redb::Error> {
        match &mut self.redb {
            Some(Redb::Full(redb)) => Ok(redb),
            Some(Redb::ReadOnly(_)) => Err(cannot_be_written()),
            None => Err(closed()),
        }
    }

    pub(crate) fn begin_read(&self) -> Result<ReadTransaction, redb::Error> {
        self.redb.as_ref().ok_or_else(closed)?.begin_read()
    }

    pub(crate) fn is_read_only(&self) -> bool {
        matches!(self.redb, Some(Redb::ReadOnly(_)))
    }

    /// Returns whether redb reads and writes, which it refuses after an error of the operating system.
    pub(crate) fn works(&self) -> bool {
        catch_panic(|| Ok(self.get()?.begin_write()?.abort()?)).is_ok()
    }

    /// Prevents further writes to the file, also when it is closed.
    pub(crate) fn give_up(&mut self) {
        self.is_damaged = true;
    }

    /// Reopens the file. Commits since the last durable one are lost. Until it is open again, callers get an error.
    pub(crate) fn reopen(&mut self, name: &StoreName, path: &Path) -> Result<(), redb::Error> {
        match self.redb.take() {
            Some(Redb::Full(database)) => abandon(database),
            Some(Redb::ReadOnly(database)) => drop(database),
            None => {}
        }
        let opened =
            catch_panic(|| open(name, path))?.map_err(|error| redb::Error::Io(io::Error::other(error.to_string())))?;
        *self = opened.redb.into();
        Ok(())
    }
}

/// Closes the database without writing to it, by dropping it during a panic, when redb does not write. With damaged
/// pages, redb might panic while it unwinds from a panic, which would end the process.
fn abandon(database: redb::Database) {
    let _ = catch_unwind(AssertUnwindSafe(|| {
        let _closed_while_this_unwinds = database;
        resume_unwind(Box::new("a database is closed without writing to it"));
    }));
}

fn cannot_be_written() -> redb::Error {
    redb::Error::Io(io::Error::new(io::ErrorKind::PermissionDenied, "this user may not write to the file"))
}

fn closed() -> redb::Error {
    redb::Error::Io(io::Error::other("the file is closed, and is reopened as soon as possible"))
}

impl Drop for DbHandle {
    fn drop(&mut self) {
        // A database that was opened for reading only writes nothing when it is closed.
        let Some(Redb::Full(database)) = self.redb.take() else { return };
        if mem::take(&mut self.is_damaged) {
            return abandon(database);
        }
        let closed = catch_panic(|| {
            drop(database);
            Ok(())
        });
        if let Err(error) = closed {
            log::warn!(%error, "a redb database was not closed properly");
        }
    }
}

/// A file that has just been opened.
pub(crate) struct Opened {
    pub(crate) redb: Redb,
    /// The damage that opening has detected.
    pub(crate) fault: FileFault,
}

/// The maximum size, in bytes, of files that are read and verified as a whole when they are opened. That takes at most
/// about ten milliseconds.
const SMALL: u64 = 1 << 22;

/// Returns whether the whole file is as redb has written it, if it is small; larger files count as sound. A copy in
/// memory is checked, since redb would undo commits in the file itself when it finds damage.
fn is_sound(path: &Path) -> bool {
    if !fs::metadata(path).is_ok_and(|metadata| (1..=SMALL).contains(&metadata.len())) {
        return true;
    }
    let verified = catch_panic(|| {
        let content = fs::read(path)?;
        let memory = InMemoryBackend::new();
        memory.set_len(content.len() as u64).map_err(io::Error::other)?;
        memory.write(0, &content).map_err(io::Error::other)?;
        let mut copy = Builder::new().create_with_backend(memory)?;
        let is_sound = catch_panic(|| Ok(copy.check_integrity()?));
        abandon(copy);
        is_sound
    });
    verified.unwrap_or(false)
}

/// Opens the database and creates its tables. If a file of fleche cannot be read at all, it is kept under another name
/// and emptied. The inner result holds the errors that are already fleche's own.
pub(crate) fn open_or_replace(name: &StoreName, path: &Path) -> Result<Result<Opened>, redb::Error> {
    if !written_file::may_write(path) {
        return catch_panic(|| open(name, path));
    }
    let (then, is_sound) = (fs::metadata(path)?, is_sound(path));
    let why = match catch_panic(|| open(name, path)) {
        // redb has no other error for a file of a later version.
        Err(redb::Error::Corrupted(why)) if why.contains("version") => return Err(redb::Error::Corrupted(why)),
        Err(error) if is_damage(&error) => error,
        Ok(Ok(mut opened)) if !is_sound => {
            opened.fault = FileFault::Damaged;
            return Ok(Ok(opened));
        }
        opened => return opened,
    };
    match Files::new(path).quarantine_and_empty(&then) {
        Ok(Some(kept)) => {
            log::warn!(
                "{name} is damaged ({why}) and cannot be read: a new one replaces it, and the results in it are \
                 computed again; the damaged file is `{}`",
                kept.display()
            );
            catch_panic(|| open(name, path))
        }
        Ok(None) => Err(redb::Error::Corrupted(why.to_string())),
        Err(error) => Err(redb::Error::Corrupted(format!("{why}; the file is left as it is: {error}"))),
    }
}

/// Returns the identity of the file, which is created empty if it is missing.
pub(crate) fn place(path: &Path) -> Result<Place> {
    written_file::check_named(path).map_err(Error::io("open the redb database", path))?;
    // Only a regular file is opened: opening a named pipe would block.
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Err(Error::io("open the redb database", path)(io::Error::other("it is not a regular file"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let created = File::options().write(true).create(true).truncate(false).open(path);
            created.map_err(Error::io("create", path))?;
        }
        Err(error) => return Err(Error::io("read the metadata of", path)(error)),
    }
    Place::new(path)
}

/// Opens the database and creates its tables. The inner result holds the errors that are already fleche's own.
fn open(name: &StoreName, path: &Path) -> Result<Result<Opened>, redb::Error> {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE);
    let redb = if written_file::may_write(path) {
        Files::new(path).replace()?;
        Redb::Full(builder.create(path)?)
    } else {
        Redb::ReadOnly(builder.open_read_only(path)?)
    };
    let reading = redb.begin_read()?;
    let tables: Vec<_> = reading.list_tables()?.map(|table| table.name().to_owned()).collect();
    if let Redb::Full(full) = &redb
        && tables.is_empty()
        && reading.list_multimap_tables()?.next().is_none()
    {
        drop(reading);
        let transaction = full.begin_write()?;
        create(&transaction)?;
        transaction.commit()?;
        return Ok(Ok(Opened { redb, fault: FileFault::None }));
    }
    if !tables.iter().any(|name| name == FLECHE.name()) {
        return Ok(Err(name.config("this redb database belongs to another program: give the store a file of its own")));
    }
    let format = catch_panic(|| Ok(reading.open_table(FLECHE)?.get(FORMAT.0)?.map_or(0, |format| format.value())));
    drop(reading);
    let (format, fault) = match format {
        // The page with the format is damaged. No other format has ever been released.
        Err(error) if is_damage(&error) => (FORMAT.1, FileFault::Damaged),
        format => (format?, FileFault::None),
    };
    Ok(match format.cmp(&FORMAT.1) {
        cmp::Ordering::Equal => Ok(Opened { redb, fault }),
        cmp::Ordering::Greater => Err(name.config(
            "a later version of fleche has written this database: use that version, or give the store a file of its own",
        )),
        cmp::Ordering::Less => Err(name.config(
            "an earlier version of fleche, which was never released, has written this database: move the file away; the \
             results in it are computed again",
        )),
    })
}

/// The fault of a file, from the mildest to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum FileFault {
    /// No fault.
    None,
    /// After an error of the operating system, redb reads nothing more until the file is reopened.
    NeedsReopen,
    /// Some data could not be read. It remains to be checked whether pages are damaged.
    Suspected,
    /// Pages are damaged.
    Damaged,
}

/// The known faults of an open file.
#[derive(Default)]
pub(crate) struct Integrity {
    fault: AtomicU8,
    /// The earliest time of the next repair, if the last one failed.
    not_before: Mutex<Option<Instant>>,
}

impl Integrity {
    /// Notes a fault, unless a worse one is known.
    pub(crate) fn note(&self, fault: FileFault) {
        self.fault.fetch_max(fault as u8, Ordering::Relaxed);
    }

    /// Returns the fault that may be repaired now.
    pub(crate) fn to_repair(&self) -> FileFault {
        let fault = match self.fault.load(Ordering::Relaxed) {
            0 => return FileFault::None,
            1 => FileFault::NeedsReopen,
            2 => FileFault::Suspected,
            _ => FileFault::Damaged,
        };
        let not_before = *self.not_before.lock().ignore_poison();
        if not_before.is_some_and(|moment| Instant::now() < moment) { FileFault::None } else { fault }
    }

    /// Returns whether pages may be damaged and a repair may be tried now.
    pub(crate) fn needs_repair(&self) -> bool {
        self.to_repair() >= FileFault::Suspected
    }

    pub(crate) fn repaired(&self) {
        self.fault.store(FileFault::None as u8, Ordering::Relaxed);
        *self.not_before.lock().ignore_poison() = None;
    }

    /// Notes a failed repair, which is not retried before this pause has passed.
    pub(crate) fn not_repaired(&self, pause: Duration) {
        *self.not_before.lock().ignore_poison() = Some(Instant::now() + pause);
    }
}
