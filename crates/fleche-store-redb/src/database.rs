//! `Database`: a file that is open, which all handles to it share.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, RwLock},
};

use fleche_core::Result;

use crate::{
    Durability,
    closing::Closing,
    commit::{CommitStats, Commits},
    flusher::Flusher,
    open::Held,
    operation::{Operation, Outcome},
    queue::Queue,
    tables::Snapshot,
};

/// An open file. The drop makes everything durable and closes it.
pub(crate) struct Database {
    pub(crate) inner: Arc<Inner>,
}

/// What the thread that makes commits durable has a hold of, too.
pub(crate) struct Inner {
    /// As the file was called when it was first opened, absolute.
    pub(crate) path: PathBuf,
    /// What readers read; none since the last commit.
    pub(crate) snapshot: Mutex<Option<Arc<Snapshot>>>,
    /// To be compacted, redb wants it alone.
    pub(crate) redb: RwLock<Closing>,
    pub(crate) queue: Queue,
    pub(crate) commits: Commits,
    pub(crate) flusher: Flusher,
    // After redb, so that whoever opens the file anew finds it closed.
    pub(crate) _held: Held,
}

impl Database {
    pub(crate) fn new(path: PathBuf, redb: redb::Database, next_number: u64, held: Held) -> Self {
        let inner = Inner {
            commits: Commits::new(&path, next_number),
            path,
            snapshot: Mutex::default(),
            redb: RwLock::new(redb.into()),
            queue: Queue::default(),
            flusher: Flusher::default(),
            _held: held,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Does this, together with what others want done at the same time; it is visible to everybody when this returns.
    pub(crate) fn perform(&self, operation: &Operation<'_>, durability: Durability) -> Result<Outcome> {
        let outcome = self.inner.submit(operation, durability == Durability::Immediate)?;
        if durability == Durability::Eventual && self.inner.commits.are_pending() {
            Flusher::see_to(&self.inner);
        }
        Ok(outcome)
    }

    /// Returns when what was put before is durable.
    pub(crate) fn sync(&self, durability: Durability) -> Result<()> {
        if durability != Durability::None && self.inner.commits.are_pending() {
            self.inner.submit(&Operation::Sync, true)?;
        }
        Ok(())
    }

    pub(crate) fn stats(&self) -> CommitStats {
        self.inner.commits.stats()
    }

    /// Gives back to the system what the file does not need. Whether it has become smaller.
    pub(crate) fn compact(&self) -> Result<bool> {
        self.inner.compact()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.inner.flusher.stop();
        if self.inner.commits.are_pending()
            && let Err(error) = self.inner.submit(&Operation::Sync, true)
        {
            tracing::warn!("what was put last may be lost: {error}");
        }
    }
}
