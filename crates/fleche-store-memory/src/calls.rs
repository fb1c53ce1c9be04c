//! `MemoryCalls`: records in memory, keyed by call.

use std::{fmt, sync::Arc};

use fleche_core::{
    CallKey, CallStore, DigestPrefix, Record, Result,
    call::RecordSummary,
    store::ensure_not_forked,
    store::{CallStoreConfig, Entries, OpenStores},
};

use crate::{
    MemoryCallsConfig,
    compact::{CompactRecord, SharedParts},
    digest_map::{self, DigestMap, random_id},
};

/// A [`CallStore`] in memory, which is dropped with its last handle. A clone is another handle to the same store.
///
/// A record of a small call takes about 300 bytes: the parts that records have in common are held once, and the rest is
/// encoded. Records in memory are never damaged.
#[derive(Clone)]
pub struct MemoryCalls(Arc<Contents>);

struct Contents {
    id: String,
    records: DigestMap<CompactRecord>,
    shared: SharedParts,
}

static OPEN: OpenStores<String, Contents> = OpenStores::new();

impl MemoryCalls {
    /// Creates an empty store.
    pub fn new() -> Self {
        Self::with_id(&random_id())
    }

    /// Returns the store with this id in this process, or creates an empty one if there is none.
    pub(crate) fn with_id(id: &str) -> Self {
        let new = || Contents { id: id.to_owned(), records: digest_map::new(), shared: SharedParts::default() };
        // `get_or_open` fails only if the closure does, which it never does here.
        Self(OPEN.get_or_open(id.to_owned(), || Ok(new())).unwrap_or_else(|_| Arc::new(new())))
    }
}

impl MemoryCalls {
    /// Returns the content of the store.
    ///
    /// # Errors
    /// Fails in a forked child process, which must not use the store.
    fn contents(&self) -> Result<&Contents> {
        ensure_not_forked(|| format!("the memory store `{}`", self.0.id))?;
        Ok(&self.0)
    }
}

impl CallStore for MemoryCalls {
    fn get(&self, key: &CallKey) -> Result<Option<Record>> {
        let contents = self.contents()?;
        let found = contents.records.get(key.digest()).map(|record| record.clone());
        // Decoded after the lock is released.
        found.as_ref().map(CompactRecord::record).transpose()
    }

    fn summary(&self, key: &CallKey) -> Result<Option<RecordSummary>> {
        Ok(self.contents()?.records.get(key.digest()).map(|record| record.summary()))
    }

    fn put(&self, key: &CallKey, record: &Record) -> Result<()> {
        let contents = self.contents()?;
        let compact = CompactRecord::new(record, &contents.shared)?;
        let replaced = contents.records.insert(*key.digest(), compact);
        // Freed after the lock is released.
        drop(replaced);
        Ok(())
    }

    fn contains(&self, key: &CallKey) -> Result<bool> {
        Ok(self.contents()?.records.contains_key(key.digest()))
    }

    fn keys(&self, prefix: &DigestPrefix) -> Result<Entries<'_, CallKey>> {
        Ok(Box::new(digest_map::digests(&self.contents()?.records, prefix).map(|digest| Ok(digest.into()))))
    }

    fn remove(&self, key: &CallKey, only: Option<&Record>) -> Result<bool> {
        let contents = self.contents()?;
        let only = only.map(|only| CompactRecord::new(only, &contents.shared)).transpose()?;
        let is_meant = |record: &CompactRecord| only.as_ref().is_none_or(|only| record == only);
        Ok(contents.records.remove_if(key.digest(), |_, record| is_meant(record)).is_some())
    }

    fn is_exclusive(&self) -> bool {
        true
    }

    fn identity(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    fn may_block(&self) -> bool {
        false
    }

    fn config(&self) -> Box<dyn CallStoreConfig> {
        Box::new(MemoryCallsConfig::with_id(&self.0.id))
    }
}

impl Default for MemoryCalls {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryCalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryCalls").field("id", &self.0.id).finish_non_exhaustive()
    }
}
