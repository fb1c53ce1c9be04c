//! `RedbValues`: encoded values in a redb database, keyed by digest.

use std::{path::Path, time::Duration};

use bytes::Bytes;
use fleche_core::{
    Digest, DigestPrefix, Result, ValueStore,
    store::{
        Check, Entries, ValueStoreConfig,
        kit::{Entry, FileBacked as _, Handle},
    },
};

use crate::{
    CommitStats, RedbValuesConfig,
    database::Database,
    pending::{Change, State},
    tables::{Durability, age},
};

/// A [`ValueStore`] in a redb database. A clone is another handle to the same store.
///
/// Ages are measured with this system's clock; a time in the future counts as one equally far in the past. Values of up
/// to 3 GiB can be stored.
#[derive(Clone, Debug)]
pub struct RedbValues {
    database: Handle<Database>,
    durability: Durability,
}

impl RedbValues {
    /// Opens the store in this file, creating the file and its directory if they are missing.
    ///
    /// # Errors
    /// Fails with [`Error::Config`](fleche_core::Error::Config) if another process has the file open, if it is not a
    /// database of this crate, or if it is so damaged that this cannot be determined; and with
    /// [`Error::Io`](fleche_core::Error::Io) if it cannot be created or read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(&RedbValuesConfig::new(path.as_ref()))
    }

    /// Opens the store that the configuration describes.
    ///
    /// # Errors
    /// Fails as [`open`](Self::open) does.
    pub fn open_with(config: &RedbValuesConfig) -> Result<Self> {
        Ok(Self { database: Handle::new(Database::open(&config.path)?), durability: config.durability })
    }

    /// Returns the file as an absolute path, as it was named when it was first opened.
    pub fn path(&self) -> &Path {
        &self.database.opened().inner.path
    }

    /// Returns the number of commits since the database was opened, including those of records in the same file.
    pub fn stats(&self) -> CommitStats {
        self.database.opened().current().inner.commits.stats()
    }

    /// Returns unused space of the file to the operating system. It may be called at any time: it waits for running
    /// operations on the file, of values and of records, and later operations wait for it. Open iterators may stay
    /// open. All earlier entries are durable afterwards. Returns whether there was unused space.
    ///
    /// # Errors
    /// Fails with [`Error::Backend`](fleche_core::Error::Backend) if redb fails.
    pub fn compact(&self) -> Result<bool> {
        self.database.writable()?.inner.compact()
    }
}

impl ValueStore for RedbValues {
    fn read(&self, id: &Digest, check: Check<'_>) -> Result<Option<Bytes>> {
        self.database.current()?.value(id, check, self.durability)
    }

    /// Stores the value without hashing it: a mismatch of bytes and digest is detected when the entry is read.
    fn put(&self, id: &Digest, encoded: &[u8]) -> Result<()> {
        self.database.writable()?.put_value(id, encoded, self.durability)
    }

    fn contains(&self, id: &Digest) -> Result<bool> {
        let inner = &self.database.current()?.inner;
        match inner.pending.read_state(|state| state.value(id).map(|change| matches!(change, Change::Put(_)))) {
            Some(known) => Ok(known),
            None => inner.read_entry(Entry::value(id), |snapshot| Ok(snapshot.values.get(id.as_bytes())?.is_some())),
        }
    }

    fn age(&self, id: &Digest) -> Result<Option<Duration>> {
        let inner = &self.database.current()?.inner;
        let put = match inner.pending.read_state(|state| state.value(id).cloned()) {
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
        self.database.writable()?.remove_values(ids, older_than, self.durability)
    }

    fn ids(&self, prefix: &DigestPrefix) -> Result<Entries<'_, Digest>> {
        Ok(Box::new(self.database.current()?.digests(|snapshot| &snapshot.values, State::has_removed_value, prefix)?))
    }

    fn sync(&self, _id: &Digest) -> Result<()> {
        self.database.synced(|database| database.sync(self.durability))
    }

    fn config(&self) -> Box<dyn ValueStoreConfig> {
        Box::new(RedbValuesConfig::new(self.path()).durability(self.durability))
    }
}
