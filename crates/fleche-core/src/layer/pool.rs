//! `Pool`: a read-only layer over several stores.

use std::time::Duration;

use bytes::Bytes;

use super::{
    PoolConfig,
    config::some,
    read_only::refused,
    union::{find, first, ids, keys},
};
use crate::{
    call::{CallKey, Record},
    claim::Claim,
    digest::{Digest, DigestPrefix},
    error::{Error, Result},
    store::{CallStore, CallStoreConfig, Check, Entries, ValueStore, ValueStoreConfig, query::Query},
};

/// Several stores that are read as one. They are asked in order, and the first that has an entry provides it. A pool is
/// read-only: it refuses `put` and `remove`.
#[derive(Clone, Debug)]
pub struct Pool<S>(Vec<S>);

impl<S> Pool<S> {
    /// Creates a pool of value stores or of call stores. The first store is asked first. Stores of different types must
    /// be boxed:
    ///
    /// ```
    /// use fleche_core::{ValueStore, layer::{Pool, ReadOnly}};
    /// # use fleche_store_memory::MemoryValues;
    /// # let (mine, theirs) = (MemoryValues::new(), MemoryValues::new());
    /// let stores: [Box<dyn ValueStore>; 2] = [Box::new(mine), Box::new(ReadOnly::new(theirs))];
    /// let values = Pool::new(stores)?;
    /// # Ok::<(), fleche_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// Fails with [`Error::Config`] if there are none.
    pub fn new(stores: impl IntoIterator<Item = S>) -> Result<Self> {
        some("pool", stores).map(Self)
    }
}

fn in_a_pool(operation: &'static str) -> Error {
    refused("a pool, which is read only,", operation)
}

impl<S: ValueStore> ValueStore for Pool<S> {
    fn read(&self, id: &Digest, check: Check<'_>) -> Result<Option<Bytes>> {
        for store in &self.0 {
            if let Some(bytes) = store.read(id, check)? {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }
    fn get(&self, id: &Digest) -> Result<Option<Bytes>> {
        for store in &self.0 {
            if let Some(bytes) = store.get(id)? {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }
    fn put(&self, _: &Digest, _: &[u8]) -> Result<()> {
        Err(in_a_pool("store values"))
    }
    fn contains(&self, id: &Digest) -> Result<bool> {
        any(&self.0, |store| store.contains(id))
    }
    fn age(&self, id: &Digest) -> Result<Option<Duration>> {
        least_age(&self.0, id)
    }
    fn remove(&self, id: &Digest, _: Option<Duration>) -> Result<bool> {
        if ValueStore::contains(self, id)? { Err(in_a_pool("remove values")) } else { Ok(false) }
    }
    fn ids(&self, prefix: &DigestPrefix) -> Result<Entries<'_, Digest>> {
        ids(&self.0, prefix)
    }
    fn may_block(&self) -> bool {
        self.0.iter().any(ValueStore::may_block)
    }
    fn config(&self) -> Box<dyn ValueStoreConfig> {
        Box::new(PoolConfig { stores: self.0.iter().map(ValueStore::config).collect() })
    }
}

impl<S: CallStore> CallStore for Pool<S> {
    fn get(&self, key: &CallKey) -> Result<Option<Record>> {
        first(&self.0, key)
    }
    fn put(&self, _: &CallKey, _: &Record) -> Result<()> {
        Err(in_a_pool("store records"))
    }
    fn contains(&self, key: &CallKey) -> Result<bool> {
        any(&self.0, |store| store.contains(key))
    }
    fn keys(&self, prefix: &DigestPrefix) -> Result<Entries<'_, CallKey>> {
        keys(&self.0, prefix)
    }
    fn remove(&self, key: &CallKey, _: Option<&Record>) -> Result<bool> {
        if CallStore::contains(self, key)? { Err(in_a_pool("remove records")) } else { Ok(false) }
    }
    fn find<'a>(&'a self, query: &'a Query) -> Result<Entries<'a, (CallKey, Record)>> {
        find(&self.0, query)
    }
    fn claim(&self, _: &CallKey) -> Result<Claim> {
        Ok(Claim::WithinProcess)
    }
    fn may_block(&self) -> bool {
        self.0.iter().any(CallStore::may_block)
    }
    fn config(&self) -> Box<dyn CallStoreConfig> {
        Box::new(PoolConfig { stores: self.0.iter().map(CallStore::config).collect() })
    }
}

/// Returns whether `holds` is true for any of the stores.
pub(super) fn any<S>(stores: &[S], holds: impl Fn(&S) -> Result<bool>) -> Result<bool> {
    for store in stores {
        if holds(store)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns the time since the entry was last put to any of the stores, or `None` if none has it.
pub(super) fn least_age<S: ValueStore>(stores: &[S], id: &Digest) -> Result<Option<Duration>> {
    let ages = stores.iter().map(|store| store.age(id)).collect::<Result<Vec<_>>>()?;
    Ok(ages.into_iter().flatten().min())
}
