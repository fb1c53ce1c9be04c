//! `Database`: a file that is open, which all handles to it share.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, RwLock},
};

use fleche_core::{
    Result,
    store::{BackingFile, FileBacked},
};

use crate::{
    closing::Closing, commit::Commits, flusher::Flusher, health::Health, open::Held, pending::Pending, tables::Snapshot,
};

/// An open file. The drop makes everything durable and closes it.
pub(crate) struct Database {
    pub(crate) inner: Arc<Inner>,
    file: BackingFile<Self>,
}

/// What the thread that makes commits durable has a hold of, too.
pub(crate) struct Inner {
    /// As the file was called when it was first opened, absolute.
    pub(crate) path: PathBuf,
    /// What readers read; none since the last commit.
    pub(crate) snapshot: Mutex<Option<Arc<Snapshot>>>,
    /// To be compacted, redb wants it alone.
    pub(crate) redb: RwLock<Closing>,
    pub(crate) pending: Pending,
    pub(crate) commits: Commits,
    pub(crate) health: Health,
    pub(crate) flusher: Flusher,
    // After redb, so that whoever opens the file anew finds it closed.
    pub(crate) _held: Held,
}

impl Database {
    pub(crate) fn new(path: PathBuf, redb: redb::Database, held: Held) -> Result<Self> {
        let file = BackingFile::new(&path)?;
        let inner = Inner {
            path,
            snapshot: Mutex::default(),
            redb: RwLock::new(redb.into()),
            pending: Pending::default(),
            commits: Commits::default(),
            health: Health::default(),
            flusher: Flusher::default(),
            _held: held,
        };
        inner.bound_pending();
        Ok(Self { inner: Arc::new(inner), file })
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
            fleche_core::log::warn!("what was put last may be lost: {error}");
        }
    }
}
