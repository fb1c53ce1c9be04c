//! `ReadOnly`: a layer that reads a store and never writes to it.

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    call::{CallKey, Record, RecordSummary},
    claim::{Claim, ClaimHolder},
    digest::{Digest, DigestPrefix},
    error::{Error, Result},
    store::{CallStore, CallStoreConfig, Check, Entries, Reach, ValueStore, ValueStoreConfig, query::Query},
};

/// Makes another store read-only: it serves the entries, and refuses `put` and `remove`.
///
/// Claims apply only within this process, because other processes cannot see what is computed under them. A damaged
/// entry is reported, and quarantined if the store can do so.
#[derive(Clone, Debug)]
pub struct ReadOnly<S>(
    /// The inner store.
    pub S,
);

impl<S> ReadOnly<S> {
    /// Creates a layer that reads this store and never writes to it.
    pub fn new(store: S) -> Self {
        Self(store)
    }
}

/// The configuration of a [`ReadOnly`]: `{"type":"read-only","store":…}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadOnlyConfig<C> {
    /// The store that is only read.
    pub store: C,
}

/// Returns the error of a write to a read-only layer.
pub(super) fn refused(layer: &str, operation: &'static str) -> Error {
    Error::Refused { store: format!("a store that is {layer}"), operation }
}

fn read_only_refusal(operation: &'static str) -> Error {
    refused("read only", operation)
}

impl<S: ValueStore> ValueStore for ReadOnly<S> {
    fn read(&self, id: &Digest, check: Check<'_>) -> Result<Option<Bytes>> {
        self.0.read(id, check)
    }
    fn get(&self, id: &Digest) -> Result<Option<Bytes>> {
        self.0.get(id)
    }
    fn put(&self, _: &Digest, _: &[u8]) -> Result<()> {
        Err(read_only_refusal("store values"))
    }
    fn contains(&self, id: &Digest) -> Result<bool> {
        self.0.contains(id)
    }
    fn age(&self, id: &Digest) -> Result<Option<Duration>> {
        self.0.age(id)
    }
    fn remove(&self, id: &Digest, _: Option<Duration>) -> Result<bool> {
        // Removing an absent entry changes nothing.
        if self.0.contains(id)? { Err(read_only_refusal("remove values")) } else { Ok(false) }
    }
    fn ids(&self, prefix: &DigestPrefix) -> Result<Entries<'_, Digest>> {
        self.0.ids(prefix)
    }
    fn may_block(&self) -> bool {
        self.0.may_block()
    }
    fn keeps_nothing(&self) -> bool {
        self.0.keeps_nothing()
    }
    fn config(&self) -> Box<dyn ValueStoreConfig> {
        Box::new(ReadOnlyConfig { store: self.0.config() })
    }
}

impl<S: CallStore> CallStore for ReadOnly<S> {
    fn get(&self, key: &CallKey) -> Result<Option<Record>> {
        self.0.get(key)
    }
    fn summary(&self, key: &CallKey) -> Result<Option<RecordSummary>> {
        self.0.summary(key)
    }
    fn put(&self, _: &CallKey, _: &Record) -> Result<()> {
        Err(read_only_refusal("store records"))
    }
    fn contains(&self, key: &CallKey) -> Result<bool> {
        self.0.contains(key)
    }
    fn keys(&self, prefix: &DigestPrefix) -> Result<Entries<'_, CallKey>> {
        self.0.keys(prefix)
    }
    fn remove(&self, key: &CallKey, _: Option<&Record>) -> Result<bool> {
        if self.0.contains(key)? { Err(read_only_refusal("remove records")) } else { Ok(false) }
    }
    fn find<'a>(&'a self, query: &'a Query) -> Result<Entries<'a, (CallKey, Record)>> {
        self.0.find(query)
    }
    fn claim(&self, _: &CallKey) -> Result<Claim> {
        Ok(Claim::WithinProcess)
    }
    fn is_exclusive(&self) -> bool {
        self.0.is_exclusive()
    }
    fn claim_holder(&self, key: &CallKey) -> Result<Option<ClaimHolder>> {
        self.0.claim_holder(key)
    }
    /// Returns the same identity for all read-only handles of one store. It differs from that of the store, because a
    /// caller that records its results must not share those of a caller that does not.
    fn identity(&self) -> usize {
        // The lowest bit is free, because identities are addresses of aligned values.
        self.0.identity() | 1
    }
    fn keeps_nothing(&self) -> bool {
        self.0.keeps_nothing()
    }
    fn may_block(&self) -> bool {
        self.0.may_block()
    }
    fn config(&self) -> Box<dyn CallStoreConfig> {
        Box::new(ReadOnlyConfig { store: self.0.config() })
    }
}

macro_rules! read_only_config {
    ($config:ident, $store:ident) => {
        #[typetag::serde(name = "read-only")]
        impl $config for ReadOnlyConfig<Box<dyn $config>> {
            fn open(&self) -> Result<Arc<dyn $store>> {
                Ok(Arc::new(ReadOnly::new(self.store.open()?)))
            }
            fn reach(&self) -> Reach {
                self.store.reach()
            }
            fn resolve(&mut self, directory: &Path) {
                self.store.resolve(directory);
            }
        }
    };
}

read_only_config! { ValueStoreConfig, ValueStore }
read_only_config! { CallStoreConfig, CallStore }
