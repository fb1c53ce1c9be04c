//! `MemoryValues`: encoded values in memory, under their digests.

use std::{
    collections::hash_map,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use fleche_core::{
    Digest, DigestPrefix, Result, ValueStore,
    store::{Entries, OpenStores, ValueStoreConfig},
};

use crate::{MemoryValuesConfig, error::wrong_digest, identity::random_id, shards::Shards};

/// A [`ValueStore`] in memory, gone with its last handle. Cloning gives another handle to the same store.
///
/// Every read is verified, though none hashes: `put` takes only bytes that have the digest, and what is held cannot
/// change afterwards. Ages are by the monotonic clock.
#[derive(Clone)]
pub struct MemoryValues(Arc<Held>);

struct Held {
    id: String,
    values: Shards<Value>,
}

struct Value {
    encoded: Bytes,
    put: Instant,
}

static OPEN: OpenStores<String, Held> = OpenStores::new();

impl MemoryValues {
    /// A new, empty store.
    pub fn new() -> Self {
        Self::with_id(&random_id())
    }

    /// The store of this id in this process; new and empty if nobody holds it.
    pub(crate) fn with_id(id: &str) -> Self {
        let new = || Held { id: id.to_owned(), values: Shards::default() };
        // The table's only errors are those of opening, which has none here.
        Self(OPEN.get_or_open(id.to_owned(), || Ok(new())).unwrap_or_else(|_| Arc::new(new())))
    }
}

impl ValueStore for MemoryValues {
    fn get(&self, id: &Digest) -> Result<Option<Bytes>> {
        Ok(self.0.values.read(id).get(id).map(|value| value.encoded.clone()))
    }

    /// As the trait says.
    ///
    /// # Errors
    /// [`Error::Refused`](fleche_core::Error::Refused) if the bytes have another digest.
    fn put(&self, id: &Digest, encoded: &[u8]) -> Result<()> {
        // Compared, hashed and copied before the lock, so that a large value stops nobody.
        let known = self.get(id)?.filter(|known| known == encoded);
        if known.is_none() && Digest::of(encoded) != *id {
            return Err(wrong_digest(id));
        }
        let encoded = known.unwrap_or_else(|| Bytes::copy_from_slice(encoded));
        let replaced = self.0.values.write(id).insert(*id, Value { encoded, put: Instant::now() });
        // Freed here, after the lock.
        drop(replaced);
        Ok(())
    }

    fn contains(&self, id: &Digest) -> Result<bool> {
        Ok(self.0.values.read(id).contains_key(id))
    }

    fn age(&self, id: &Digest) -> Result<Option<Duration>> {
        Ok(self.0.values.read(id).get(id).map(|value| value.put.elapsed()))
    }

    fn remove(&self, id: &Digest, older_than: Option<Duration>) -> Result<bool> {
        match self.0.values.write(id).entry(*id) {
            hash_map::Entry::Occupied(value) if older_than.is_none_or(|age| value.get().put.elapsed() > age) => {
                value.remove();
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn ids(&self, prefix: &DigestPrefix) -> Result<Entries<'_, Digest>> {
        Ok(Box::new(self.0.values.digests(prefix).map(Ok)))
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
