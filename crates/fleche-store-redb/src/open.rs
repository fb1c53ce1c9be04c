//! Opening and closing: all handles to a file share one database, whatever the spelling of the path.

use std::{
    cmp::Ordering,
    fs::{self, File},
    io,
    path::Path,
    sync::{Arc, PoisonError},
};

use fleche_core::{
    Error, Result,
    spi::written_file,
    store::{OpenPlaceGuard, OpenStores, Place},
};
use redb::{Builder, StorageBackend as _, TableHandle as _, backends::InMemoryBackend};

use crate::{
    aside::Files,
    closing::{Redb, abandon},
    database::{Database, Inner},
    error::{caught, foreign, is_damage, opening},
    health::Corruption,
    tables::{FLECHE, FORMAT, create},
};

static OPEN: OpenStores<Place, Database> = OpenStores::new();

/// The size of redb's cache in memory, in bytes.
const CACHE: usize = 1 << 28;

impl Database {
    /// Opens the database in this file, creating the file if it is missing.
    pub(crate) fn open(path: &Path) -> Result<Arc<Self>> {
        let path = std::path::absolute(path).map_err(Error::io("find the absolute path of", path))?;
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(Error::io("create the directory", directory))?;
        }
        let place = place(&path)?;
        OPEN.get_or_open(place.clone(), || {
            // Another thread may have dropped the last handle and not have finished closing the file.
            let held = OpenPlaceGuard::take(place);
            let opened = open_or_begin_anew(&path).map_err(|error| opening(&path, error))??;
            let database = Self::new(path, opened.redb.into(), held)?;
            database.inner.integrity.note(opened.ill);
            Ok(database)
        })
    }
}

/// A file that has just been opened.
pub(crate) struct Opened {
    pub(crate) redb: Redb,
    /// The damage that opening has detected.
    ill: Corruption,
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
    let verified = caught(|| {
        let content = fs::read(path)?;
        let memory = InMemoryBackend::new();
        memory.set_len(content.len() as u64).map_err(io::Error::other)?;
        memory.write(0, &content).map_err(io::Error::other)?;
        let mut copy = Builder::new().create_with_backend(memory)?;
        let is_sound = caught(|| Ok(copy.check_integrity()?));
        abandon(copy);
        is_sound
    });
    verified.unwrap_or(false)
}

/// Opens the database and creates its tables. If a file of fleche cannot be read at all, it is kept under another name
/// and emptied. The inner error is already one of fleche.
fn open_or_begin_anew(path: &Path) -> Result<Result<Opened>, redb::Error> {
    if !written_file::may_write(path) {
        return caught(|| open(path));
    }
    let (then, is_sound) = (fs::metadata(path)?, is_sound(path));
    let why = match caught(|| open(path)) {
        // redb has no other error for a file of a later version.
        Err(redb::Error::Corrupted(why)) if why.contains("version") => return Err(redb::Error::Corrupted(why)),
        Err(error) if is_damage(&error) => error,
        Ok(Ok(mut opened)) if !is_sound => {
            opened.ill = Corruption::Damaged;
            return Ok(Ok(opened));
        }
        opened => return opened,
    };
    match Files::of(path).begin_anew(&then) {
        Ok(Some(aside)) => {
            fleche_core::spi::log::warn!(
                "the redb database `{}` is damaged ({why}) and cannot be read: a new one replaces it, and the results in it are \
                 computed again; the damaged file is `{}`",
                path.display(),
                aside.display()
            );
            caught(|| open(path))
        }
        Ok(None) => Err(redb::Error::Corrupted(why.to_string())),
        Err(error) => Err(redb::Error::Corrupted(format!("{why}; the file is left as it is: {error}"))),
    }
}

/// Returns the identity of the file, which is created empty if it is missing.
fn place(path: &Path) -> Result<Place> {
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
    Place::of(path)
}

/// Opens the database and creates its tables. The inner error is already one of fleche.
pub(crate) fn open(path: &Path) -> Result<Result<Opened>, redb::Error> {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE);
    let redb = if written_file::may_write(path) {
        Files::of(path).replace()?;
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
        return Ok(Ok(Opened { redb, ill: Corruption::Not }));
    }
    if !tables.iter().any(|name| name == FLECHE.name()) {
        return Ok(Err(foreign(
            path,
            "this redb database belongs to another program: give the store a file of its own",
        )));
    }
    let format = caught(|| Ok(reading.open_table(FLECHE)?.get(FORMAT.0)?.map_or(0, |format| format.value())));
    drop(reading);
    let (format, ill) = match format {
        // The page with the format is damaged. No other format has ever been released.
        Err(error) if is_damage(&error) => (FORMAT.1, Corruption::Damaged),
        format => (format?, Corruption::Not),
    };
    Ok(match format.cmp(&FORMAT.1) {
        Ordering::Equal => Ok(Opened { redb, ill }),
        Ordering::Greater => Err(foreign(
            path,
            "a later version of fleche has written this database: use that version, or give the store a file of its own",
        )),
        Ordering::Less => Err(foreign(
            path,
            "an earlier version of fleche, which was never released, has written this database: move the file away; the \
             results in it are computed again",
        )),
    })
}

impl Inner {
    /// Returns unused space of the file to the system. Returns whether there was anything to compact.
    pub(crate) fn compact(&self) -> Result<bool> {
        self.exclusive(|| {
            let compacted = caught(|| {
                // Waits for running reads; later ones wait for this.
                let mut redb = self.redb.write().unwrap_or_else(PoisonError::into_inner);
                self.renew_snapshot();
                Ok(redb.get_mut()?.compact()?)
            });
            compacted.map_err(|error| self.failed(&error))
        })?
    }
}
