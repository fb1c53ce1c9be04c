//! `SledValues`: encoded values in a sled database, keyed by digest.

use std::{
    fmt,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use fleche_core::{
    Digest, DigestPrefix, Result, ValueStore,
    spi::fork::ProcessLocal,
    store::ensure_not_forked,
    store::{Check, Entries, FileBacked as _, ValueStoreConfig},
};

use crate::{SledValuesConfig, database::Database};

/// A [`ValueStore`] in a sled database. A clone is another handle to the same store.
///
/// A value is on disk about 100 ms after `put`, or earlier once `sync` returns or the last handle is dropped.
/// Ages are measured with this system's clock; a time in the future counts as one equally far in the past.
#[derive(Clone)]
pub struct SledValues(ProcessLocal<Arc<Database>>);

impl SledValues {
    /// Opens the store in this directory, creating the directory if it is missing.
    ///
    /// # Errors
    /// Fails with [`Error::Config`](fleche_core::Error::Config) if another process has the directory open, or if its
    /// content is damaged or not a database of this crate; and with [`Error::Io`](fleche_core::Error::Io) if it cannot
    /// be created or read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(&SledValuesConfig::new(path.as_ref()))
    }

    /// Opens the store that the configuration describes.
    ///
    /// # Errors
    /// Fails as [`open`](Self::open) does.
    pub fn open_with(config: &SledValuesConfig) -> Result<Self> {
        Ok(Self(ProcessLocal::new(Database::open(&config.path)?)))
    }

    /// Returns the database.
    ///
    /// # Errors
    /// Fails in a forked child process, which must not use the database.
    fn database(&self) -> Result<&Arc<Database>> {
        ensure_not_forked(|| format!("the sled store `{}`", self.path().display()))?;
        Ok(&self.0)
    }

    /// Returns the directory as an absolute path, as it was named when it was first opened.
    pub fn path(&self) -> &Path {
        &self.0.path
    }
}

impl ValueStore for SledValues {
    fn read(&self, id: &Digest, check: Check<'_>) -> Result<Option<Bytes>> {
        let database = self.database()?.current();
        database.value(id, check)
    }

    /// Stores the value without hashing it: a mismatch of bytes and digest is detected when the entry is read.
    fn put(&self, id: &Digest, encoded: &[u8]) -> Result<()> {
        let database = self.database()?.writable()?;
        database.check_size(encoded.len())?;
        database.change(id, || {
            // The age comes first, so that a kill between the two writes leaves no value without an age.
            database.ages.insert(id.as_bytes(), &now().to_be_bytes())?;
            if database.values.get(id.as_bytes())?.is_none_or(|known| known.len() != encoded.len()) {
                database.values.insert(id.as_bytes(), encoded)?;
            }
            Ok(())
        })
    }

    fn contains(&self, id: &Digest) -> Result<bool> {
        let database = self.database()?.current();
        database.run(|| database.values.contains_key(id.as_bytes()))
    }

    fn age(&self, id: &Digest) -> Result<Option<Duration>> {
        let database = self.database()?.current();
        if !self.contains(id)? {
            return Ok(None);
        }
        Ok(database.run(|| put_at(database, id))?.map(age))
    }

    fn remove(&self, id: &Digest, older_than: Option<Duration>) -> Result<bool> {
        let database = self.database()?.writable()?;
        database.change(id, || {
            if let Some(limit) = older_than
                && age(put_at(database, id)?.unwrap_or(0)) <= limit
            {
                return Ok(false);
            }
            let removed = database.values.remove(id.as_bytes())?.is_some();
            database.ages.remove(id.as_bytes())?;
            Ok(removed)
        })
    }

    fn ids(&self, prefix: &DigestPrefix) -> Result<Entries<'_, Digest>> {
        let database = self.database()?.current();
        Ok(Box::new(database.digests(&database.values, prefix)?))
    }

    fn sync(&self, _id: &Digest) -> Result<()> {
        self.database()?.current().sync()?;
        // Entries that were written to a directory that has been removed are lost.
        self.database()?.writable().map(drop)
    }

    fn config(&self) -> Box<dyn ValueStoreConfig> {
        Box::new(SledValuesConfig::new(self.path()))
    }
}

fn put_at(database: &Database, id: &Digest) -> sled::Result<Option<u64>> {
    let put = database.ages.get(id.as_bytes())?;
    Ok(put.and_then(|put| put.first_chunk().map(|put| u64::from_be_bytes(*put))))
}

fn age(put: u64) -> Duration {
    Duration::from_nanos(now().abs_diff(put))
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_nanos().try_into().unwrap_or(u64::MAX)
}

impl fmt::Debug for SledValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledValues").field("path", &self.path()).finish()
    }
}
