//! `RedbCalls`: records in a redb database, keyed by call.

use std::path::Path;

use fleche_core::{
    CallKey, CallStore, DigestPrefix, Query, Record, Result,
    call::RecordSummary,
    store::{
        CallStoreConfig, Entries,
        kit::{Entry, FileBacked as _, Handle, matching_records},
    },
};

use crate::{
    CommitStats, RedbCallsConfig,
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
#[derive(Clone, Debug)]
pub struct RedbCalls {
    database: Handle<Database>,
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
        Ok(Self { database: Handle::new(Database::open(&config.path)?), durability: config.durability })
    }

    /// Returns the file as an absolute path, as it was named when it was first opened.
    pub fn path(&self) -> &Path {
        &self.database.opened().inner.path
    }

    /// Returns the number of commits since the database was opened, including those of values in the same file.
    pub fn stats(&self) -> CommitStats {
        self.database.opened().current().inner.commits.stats()
    }

    /// Returns unused space of the file to the operating system, like [`RedbValues::compact`](crate::RedbValues::compact).
    ///
    /// # Errors
    /// Fails with [`Error::Backend`](fleche_core::Error::Backend) if redb fails.
    pub fn compact(&self) -> Result<bool> {
        self.database.writable()?.inner.compact()
    }
}

impl CallStore for RedbCalls {
    fn get(&self, key: &CallKey) -> Result<Option<Record>> {
        self.database.current()?.record(key, self.durability)
    }

    fn summary(&self, key: &CallKey) -> Result<Option<RecordSummary>> {
        self.database.current()?.read_record(
            key,
            self.durability,
            |put| RecordSummary::from(put),
            Record::summary_from_bytes,
        )
    }

    fn put(&self, key: &CallKey, record: &Record) -> Result<()> {
        self.database.writable()?.put_record(key, record, self.durability)
    }

    fn contains(&self, key: &CallKey) -> Result<bool> {
        let inner = &self.database.current()?.inner;
        match inner.pending.read_state(|state| state.record(key).map(|change| matches!(change, Change::Put(_)))) {
            Some(known) => Ok(known),
            None => inner.read_entry(Entry::record(key), |snapshot| {
                Ok(snapshot.records.get(key.digest().as_bytes())?.is_some())
            }),
        }
    }

    fn keys(&self, prefix: &DigestPrefix) -> Result<Entries<'_, CallKey>> {
        let digests =
            self.database.current()?.digests(|snapshot| &snapshot.records, State::has_removed_record, prefix)?;
        Ok(Box::new(digests.map(|digest| digest.map(CallKey::from))))
    }

    fn remove(&self, key: &CallKey, only: Option<&Record>) -> Result<bool> {
        self.database.writable()?.remove_record(key, only, self.durability)
    }

    fn find<'a>(&'a self, query: &'a Query) -> Result<Entries<'a, (CallKey, Record)>> {
        let keys: Entries<'a, CallKey> = match query.function_name() {
            Some(function) => Box::new(self.database.current()?.indexed(function, query)?),
            None => self.keys(&DigestPrefix::all())?,
        };
        Ok(matching_records(self, keys, query))
    }

    fn is_exclusive(&self) -> bool {
        true
    }

    fn identity(&self) -> usize {
        self.database.identity()
    }

    fn sync(&self, _key: &CallKey) -> Result<()> {
        self.database.synced(|database| database.sync(self.durability))
    }

    fn config(&self) -> Box<dyn CallStoreConfig> {
        Box::new(RedbCallsConfig::new(self.path()).durability(self.durability))
    }
}
