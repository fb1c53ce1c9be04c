//! `MemoryValues`: encoded values in memory, keyed by digest.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use fleche_core::{
    Digest, DigestPrefix, Result, ValueStore,
    store::ensure_not_forked,
    store::{Check, Entries, OpenStores, ValueStoreConfig, whole},
};

use crate::{
    MemoryValuesConfig,
    digest_map::{self, DigestMap, random_id},
    error::damaged,
};

/// A [`ValueStore`] in memory, which is dropped with its last handle. A clone is another handle to the same store.
///
/// Every read is verified, mostly without hashing: `put` determines whether the bytes have the digest, and they cannot
/// change afterwards. Ages are measured with the monotonic clock.
#[derive(Clone)]
pub struct MemoryValues(Arc<Contents>);

struct Contents {
    id: String,
    values: DigestMap<Value>,
}

struct Value {
    encoded: Bytes,
    /// Whether the bytes have the digest under which they are stored.
    is_intact: bool,
    put_at: Instant,
}

static OPEN: OpenStores<String, Contents> = OpenStores::new();

impl MemoryValues {
    /// Creates an empty store.
    pub fn new() -> Self {
        Self::with_id(&random_id())
    }

    /// Returns the store with this id in this process, or creates an empty one if there is none.
    pub(crate) fn with_id(id: &str) -> Self {
        let new = || Contents { id: id.to_owned(), values: digest_map::new() };
        // `get_or_open` fails only if the closure does, which it never does here.
        Self(OPEN.get_or_open(id.to_owned(), || Ok(new())).unwrap_or_else(|_| Arc::new(new())))
    }
}

impl Contents {
    /// Returns the bytes, and whether they have this digest, or `None` if there is no entry.
    fn lookup(&self, id: &Digest) -> Option<(Bytes, bool)> {
        self.values.get(id).map(|value| (value.encoded.clone(), value.is_intact))
    }

    /// Removes these bytes, unless they have been replaced since.
    fn remove_damaged(&self, id: &Digest, encoded: &Bytes) {
        self.values.remove_if(id, |_, value| value.encoded == *encoded);
    }
}

impl MemoryValues {
    /// Returns the content of the store.
    ///
    /// # Errors
    /// Fails in a forked child process, which must not use the store.
    fn contents(&self) -> Result<&Contents> {
        ensure_not_forked(|| format!("the memory store `{}`", self.0.id))?;
        Ok(&self.0)
    }
}

impl ValueStore for MemoryValues {
    fn read(&self, id: &Digest, check: Check<'_>) -> Result<Option<Bytes>> {
        let Some((encoded, _)) = self.contents()?.lookup(id) else { return Ok(None) };
        check(encoded.clone()).map(Some).map_err(|why| {
            self.0.remove_damaged(id, &encoded);
            damaged(id, why)
        })
    }

    fn get(&self, id: &Digest) -> Result<Option<Bytes>> {
        match self.contents()?.lookup(id) {
            Some((_, false)) => self.read(id, &|bytes| whole(id, bytes)),
            found => Ok(found.map(|(encoded, _)| encoded)),
        }
    }

    fn put(&self, id: &Digest, encoded: &[u8]) -> Result<()> {
        // Compared, hashed and copied before the lock is taken, so that a large value does not block other threads.
        let known = self.contents()?.lookup(id).filter(|(known, _)| known == encoded);
        let (encoded, is_intact) =
            known.unwrap_or_else(|| (Bytes::copy_from_slice(encoded), Digest::hash(encoded) == *id));
        let replaced = self.contents()?.values.insert(*id, Value { encoded, is_intact, put_at: Instant::now() });
        // Freed after the lock is released.
        drop(replaced);
        Ok(())
    }

    fn contains(&self, id: &Digest) -> Result<bool> {
        Ok(self.contents()?.values.contains_key(id))
    }

    fn age(&self, id: &Digest) -> Result<Option<Duration>> {
        Ok(self.contents()?.values.get(id).map(|value| value.put_at.elapsed()))
    }

    fn remove(&self, id: &Digest, older_than: Option<Duration>) -> Result<bool> {
        let is_older = |value: &Value| older_than.is_none_or(|age| value.put_at.elapsed() > age);
        Ok(self.contents()?.values.remove_if(id, |_, value| is_older(value)).is_some())
    }

    fn ids(&self, prefix: &DigestPrefix) -> Result<Entries<'_, Digest>> {
        Ok(Box::new(digest_map::digests(&self.contents()?.values, prefix).map(Ok)))
    }

    fn may_block(&self) -> bool {
        false
    }

    fn config(&self) -> Box<dyn ValueStoreConfig> {
        Box::new(MemoryValuesConfig::with_id(&self.0.id))
    }
}

impl Default for MemoryValues {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryValues").field("id", &self.0.id).finish_non_exhaustive()
    }
}
