//! `RedbValues`: encoded values in a redb database, under their digests.

use std::{fmt, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use fleche_core::{
    Digest, DigestPrefix, Result, ValueStore,
    error::ensure_not_forked,
    fork::ProcessLocal,
    store::{Check, Entries, FileBacked as _, ValueStoreConfig},
};

use crate::{
    CommitStats, Durability, RedbValuesConfig,
    database::Database,
    pending::{Change, State},
    write::age,
};

/// A [`ValueStore`] in a redb database. Cloning gives another handle to the same store.
///
/// Ages are by this system's clock; a time in the future counts as one equally far in the past. Values of up to 3 GiB are kept.
#[derive(Clone)]
pub struct RedbValues {
    database: ProcessLocal<Arc<Database>>,
    durability: Durability,
}

impl RedbValues {
    /// The store in this file, which is created with its directory if it is missing.
    ///
    /// # Errors
    /// [`Error::Config`](fleche_core::Error::Config) if another process holds the file, or it is something else than a
    /// database of this crate, also one that is so damaged that nothing tells whose it is; [`Error::Io`](fleche_core::Error::Io) if it cannot be created or read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(&RedbValuesConfig::new(path.as_ref()))
    }

    /// The store that the configuration describes.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(config: &RedbValuesConfig) -> Result<Self> {
        Ok(Self { database: ProcessLocal::new(Database::open(&config.path)?), durability: config.durability })
    }

    /// The database, which a forked child leaves alone.
    fn database(&self) -> Result<&Arc<Database>> {
        ensure_not_forked(|| format!("the redb store `{}`", self.path().display()))?;
        Ok(&self.database)
    }

    /// The file, absolute, as it was called when it was first opened.
    pub fn path(&self) -> &Path {
        &self.database.inner.path
    }

    /// The commits of the database since it was opened, of records that share the file too.
    pub fn stats(&self) -> CommitStats {
        self.database.current().inner.commits.stats()
    }

    /// Gives back to the system what the file does not need. It may be called at any time: it waits for the operations
    /// that run, and those that come meanwhile, of values and of records in this file, wait for it. Iterators may be
    /// open. What was put before is durable afterwards. Whether there was anything to do.
    ///
    /// # Errors
    /// [`Error::Backend`](fleche_core::Error::Backend) where redb fails.
    pub fn compact(&self) -> Result<bool> {
        self.database()?.writable()?.inner.compact()
    }
}

impl ValueStore for RedbValues {
    fn read(&self, id: &Digest, check: Check<'_>) -> Result<Option<Bytes>> {
        self.database()?.current().value(id, check, self.durability)
    }

    /// As the trait says. Nothing is hashed: bytes under a digest that is not theirs are found out when they are read.
    fn put(&self, id: &Digest, encoded: &[u8]) -> Result<()> {
        self.database()?.writable()?.put_value(id, encoded, self.durability)
    }

    fn contains(&self, id: &Digest) -> Result<bool> {
        let inner = &self.database()?.current().inner;
        match inner.pending.look(|state| state.value(id).map(|change| matches!(change, Change::Put(_)))) {
            Some(known) => Ok(known),
            None => inner.read(|snapshot| Ok(snapshot.values.get(id.as_bytes())?.is_some())),
        }
    }

    fn age(&self, id: &Digest) -> Result<Option<Duration>> {
        let inner = &self.database()?.current().inner;
        let put = match inner.pending.look(|state| state.value(id).cloned()) {
            Some(Change::Put(value)) => Some(value.put),
            Some(Change::Removed) => None,
            None => inner.read(|snapshot| snapshot.put(id))?,
        };
        Ok(put.map(age))
    }

    fn remove(&self, id: &Digest, older_than: Option<Duration>) -> Result<bool> {
        self.remove_all(&[*id], older_than).map(|removed| removed > 0)
    }

    fn remove_all(&self, ids: &[Digest], older_than: Option<Duration>) -> Result<u64> {
        self.database()?.writable()?.remove_values(ids, older_than, self.durability)
    }

    fn ids(&self, prefix: &DigestPrefix) -> Result<Entries<'_, Digest>> {
        Ok(Box::new(self.database()?.current().digests(
            |snapshot| &snapshot.values,
            State::has_removed_value,
            prefix,
        )?))
    }

    fn sync(&self, _id: &Digest) -> Result<()> {
        self.database()?.current().sync(self.durability)?;
        // Entries that were written to a file that has been removed are lost.
        self.database()?.writable().map(drop)
    }

    fn config(&self) -> Box<dyn ValueStoreConfig> {
        Box::new(RedbValuesConfig::new(self.path()).durability(self.durability))
    }
}

impl fmt::Debug for RedbValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbValues")
            .field("path", &self.path())
            .field("durability", &self.durability)
            .finish_non_exhaustive()
    }
}
