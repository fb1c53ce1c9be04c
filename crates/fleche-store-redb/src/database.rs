//! `Database`: an open file, which all its handles share.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, RwLock},
};

use fleche_core::{
    Error, Result,
    store::kit::{
        BackingFile, FileBacked, LockResultExt as _, OpenDatabase, OpenPlaceGuard, OpenStores, Place, StoreName, log,
    },
};

use crate::{
    db_handle::{DbHandle, Integrity, open_or_replace, place},
    error::{catch_panic, opening},
    flusher::Flusher,
    pending::{Commits, Pending},
    tables::Snapshot,
};

/// The open files of this process: all handles to a file share one database, regardless of the spelling of the path.
static OPEN: OpenStores<Place, Database> = OpenStores::new();

/// An open file. Dropping it makes everything durable and closes it.
pub(crate) struct Database {
    pub(crate) inner: Arc<Inner>,
    file: BackingFile<Self>,
}

/// The part of a database that it shares with the flusher thread.
pub(crate) struct Inner {
    /// The absolute path under which the file was first opened.
    pub(crate) path: PathBuf,
    pub(crate) name: StoreName,
    /// Whether this user may not write to the file.
    pub(crate) is_read_only: bool,
    /// The snapshot that reads use; `None` until the first read after a commit.
    pub(crate) snapshot: Mutex<Option<Arc<Snapshot>>>,
    /// Locked for writing by operations that need redb exclusively, such as compaction.
    pub(crate) redb: RwLock<DbHandle>,
    pub(crate) pending: Pending,
    pub(crate) commits: Commits,
    pub(crate) integrity: Integrity,
    pub(crate) flusher: Flusher,
    // Dropped after redb, so that the file is closed when another thread opens it again.
    pub(crate) _held: OpenPlaceGuard,
}

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
            let name = StoreName::new("redb database", path.display());
            let opened = open_or_replace(&name, &path).map_err(|error| opening(&name, &path, error))??;
            let database = Self::new(name, path, opened.redb.into(), held)?;
            database.inner.integrity.note(opened.fault);
            Ok(database)
        })
    }

    fn new(name: StoreName, path: PathBuf, redb: DbHandle, held: OpenPlaceGuard) -> Result<Self> {
        let file = BackingFile::new(&path)?;
        let inner = Inner {
            is_read_only: redb.is_read_only(),
            path,
            name,
            snapshot: Mutex::default(),
            redb: RwLock::new(redb),
            pending: Pending::default(),
            commits: Commits::default(),
            integrity: Integrity::default(),
            flusher: Flusher::default(),
            _held: held,
        };
        inner.update_pending_limit();
        Ok(Self { inner: Arc::new(inner), file })
    }
}

impl OpenDatabase for Database {
    fn name(&self) -> &StoreName {
        &self.inner.name
    }

    fn is_read_only(&self) -> bool {
        self.inner.is_read_only
    }
}

impl Inner {
    /// Returns unused space of the file to the system. Returns whether there was anything to compact.
    pub(crate) fn compact(&self) -> Result<bool> {
        self.exclusive(|| {
            let compacted = catch_panic(|| {
                // Waits for running reads; later ones wait for this.
                let mut redb = self.redb.write().ignore_poison();
                self.renew_snapshot();
                Ok(redb.get_mut()?.compact()?)
            });
            compacted.map_err(|error| self.failed(&error))
        })?
    }
}

impl FileBacked for Database {
    fn backing_file(&self) -> Option<&BackingFile<Self>> {
        Some(&self.file)
    }

    fn open_again(&self) -> Result<Arc<Self>> {
        Self::open(&self.inner.path)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.inner.flusher.stop();
        if let Err(error) = self.inner.make_durable(self.inner.pending.sequence()) {
            log::warn!("the last entries of a redb store may be lost: {}", error.report());
        }
    }
}
