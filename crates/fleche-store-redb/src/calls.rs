//! `RedbCalls`: records in a redb database, keyed by call.

use std::{fmt, path::Path, sync::Arc};

use fleche_core::{
    CallKey, CallStore, DigestPrefix, Query, Record, Result,
    call::RecordSummary,
    spi::fork::ProcessLocal,
    store::ensure_not_forked,
    store::{CallStoreConfig, Entries, FileBacked as _},
};

use crate::{
    CommitStats, RedbCallsConfig,
    apply::Kind,
    database::Database,
    pending::{Change, State},
    tables::Durability,
};

/// A [`CallStore`] in a redb database. A clone is another handle to the same store.
///
/// `find` by function, and by arguments of the function, reads an index and only the records that it selects, so its
/// cost depends on the number of matches, not of records. Other queries read all records.
///
/// A record of a later major format, written by a newer version of fleche, is left in place: `get` returns `None`,
/// `contains` returns `true`, `remove` removes nothing, and `put` refuses to replace it.
#[derive(Clone)]
pub struct RedbCalls {
    database: ProcessLocal<Arc<Database>>,
    durability: Durability,
}

impl RedbCalls {
    /// Opens the store in this file, creating the file and its directory if they are missing.
    ///
    /// # Errors
    /// Fails with [`Error::Config`](fleche_core::Error::Config) if another process has the file open, if it is not a
    /// database of this crate, or if it is so damaged that this cannot be determined; and with
    /// [`Error::Io`](fleche_core::Error::Io) if it cannot be created or read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(&RedbCallsConfig::new(path.as_ref()))
    }

    /// Opens the store that the configuration describes.
    ///
    /// # Errors
    /// Fails as [`open`](Self::open) does.
    pub fn open_with(config: &RedbCallsConfig) -> Result<Self> {
        Ok(Self { database: ProcessLocal::new(Database::open(&config.path)?), durability: config.durability })
    }

    /// Returns the database.
    ///
    /// # Errors
    /// Fails in a forked child process, which must not use the database.
    fn database(&self) -> Result<&Arc<Database>> {
        ensure_not_forked(|| format!("the redb store `{}`", self.path().display()))?;
        Ok(&self.database)
    }

    /// Returns the file as an absolute path, as it was named when it was first opened.
    pub fn path(&self) -> &Path {
        &self.database.inner.path
    }

    /// Returns the number of commits since the database was opened, including those of values in the same file.
    pub fn stats(&self) -> CommitStats {
        self.database.current().inner.commits.stats()
    }

    /// Returns unused space of the file to the operating system, like [`RedbValues::compact`](crate::RedbValues::compact).
    ///
    /// # Errors
    /// Fails with [`Error::Backend`](fleche_core::Error::Backend) if redb fails.
    pub fn compact(&self) -> Result<bool> {
        self.database()?.for_writing()?.inner.compact()
    }
}

impl CallStore for RedbCalls {
    fn get(&self, key: &CallKey) -> Result<Option<Record>> {
        self.database()?.current().record(key, self.durability)
    }

    fn summary(&self, key: &CallKey) -> Result<Option<RecordSummary>> {
        self.database()?.current().read_record(
            key,
            self.durability,
            |put| RecordSummary::from(put),
            Record::summary_from_bytes,
        )
    }

    fn put(&self, key: &CallKey, record: &Record) -> Result<()> {
        self.database()?.for_writing()?.put_record(key, record, self.durability)
    }

    fn contains(&self, key: &CallKey) -> Result<bool> {
        let inner = &self.database()?.current().inner;
        match inner.pending.read_state(|state| state.record(key).map(|change| matches!(change, Change::Put(_)))) {
            Some(known) => Ok(known),
            None => inner.read_entry(Kind::Record, key.digest(), |snapshot| {
                Ok(snapshot.records.get(key.digest().as_bytes())?.is_some())
            }),
        }
    }

    fn keys(&self, prefix: &DigestPrefix) -> Result<Entries<'_, CallKey>> {
        let digests =
            self.database()?.current().digests(|snapshot| &snapshot.records, State::has_removed_record, prefix)?;
        Ok(Box::new(digests.map(|digest| digest.map(CallKey::from))))
    }

    fn remove(&self, key: &CallKey, only: Option<&Record>) -> Result<bool> {
        self.database()?.for_writing()?.remove_record(key, only, self.durability)
    }

    fn find<'a>(&'a self, query: &'a Query) -> Result<Entries<'a, (CallKey, Record)>> {
        let keys: Entries<'a, CallKey> = match query.function_name() {
            Some(function) => Box::new(self.database()?.current().indexed(function, query)?),
            None => self.keys(&DigestPrefix::all())?,
        };
        let found = keys.filter_map(move |key| {
            let found = key.and_then(|key| Ok(self.get(&key)?.map(|record| (key, record))));
            found.transpose().filter(|found| found.as_ref().map_or(true, |(_, record)| query.matches(record)))
        });
        Ok(Box::new(found))
    }

    fn is_exclusive(&self) -> bool {
        true
    }

    fn identity(&self) -> usize {
        Arc::as_ptr(self.database.current()).addr()
    }

    fn sync(&self, _key: &CallKey) -> Result<()> {
        self.database()?.current().sync(self.durability)?;
        if self.database.inner.is_read_only {
            return Ok(());
        }
        // Entries that were written to a file that has been removed are lost.
        self.database()?.writable().map(drop)
    }

    fn config(&self) -> Box<dyn CallStoreConfig> {
        Box::new(RedbCallsConfig::new(self.path()).durability(self.durability))
    }
}

impl fmt::Debug for RedbCalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbCalls")
            .field("path", &self.path())
            .field("durability", &self.durability)
            .finish_non_exhaustive()
    }
}
