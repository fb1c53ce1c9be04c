//! Wrappers around stores, whose operations fail according to a [`Plan`]. Every method is forwarded.

#![deny(clippy::missing_trait_methods)]

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use fleche_core::{
    CallKey, CallStore, Digest, DigestPrefix, Query, Record, Result, ValueStore,
    call::RecordSummary,
    claim::{Claim, ClaimHolder},
    store::{CallStoreConfig, Check, Entries, ValueStoreConfig},
};

use super::Plan;

/// A wrapper around a value store whose operations fail as planned. Its configuration is that of the wrapped store.
#[derive(Clone, Debug)]
pub struct FaultyValues {
    store: Arc<dyn ValueStore>,
    plan: Arc<Plan>,
}

impl FaultyValues {
    /// Wraps a store.
    pub fn new(store: Arc<dyn ValueStore>, plan: Arc<Plan>) -> Self {
        Self { store, plan }
    }
}

impl ValueStore for FaultyValues {
    fn read(&self, id: &Digest, check: Check<'_>) -> Result<Option<Bytes>> {
        self.plan.reads("read")?;
        self.store.read(id, check)
    }
    fn get(&self, id: &Digest) -> Result<Option<Bytes>> {
        self.plan.reads("read")?;
        self.store.get(id)
    }
    fn put(&self, id: &Digest, encoded: &[u8]) -> Result<()> {
        self.plan.writes("write")?;
        self.store.put(id, encoded)
    }
    fn contains(&self, id: &Digest) -> Result<bool> {
        self.plan.reads("read the metadata of")?;
        self.store.contains(id)
    }
    fn age(&self, id: &Digest) -> Result<Option<Duration>> {
        self.plan.reads("read the metadata of")?;
        self.store.age(id)
    }
    fn remove(&self, id: &Digest, older_than: Option<Duration>) -> Result<bool> {
        self.plan.writes("remove")?;
        self.store.remove(id, older_than)
    }
    fn remove_all(&self, ids: &[Digest], older_than: Option<Duration>) -> Result<u64> {
        self.plan.writes("remove")?;
        self.store.remove_all(ids, older_than)
    }
    fn ids(&self, prefix: &DigestPrefix) -> Result<Entries<'_, Digest>> {
        self.plan.reads("list")?;
        let ids = self.store.ids(prefix)?;
        Ok(Box::new(ids.map(|id| self.plan.reads("list").and(id))))
    }
    fn sync(&self, id: &Digest) -> Result<()> {
        self.plan.writes("sync")?;
        self.store.sync(id)
    }
    fn may_block(&self) -> bool {
        self.store.may_block()
    }
    fn keeps_nothing(&self) -> bool {
        self.store.keeps_nothing()
    }
    fn config(&self) -> Box<dyn ValueStoreConfig> {
        self.store.config()
    }
}

/// A wrapper around a call store whose operations fail as planned. Its configuration is that of the wrapped store.
#[derive(Clone, Debug)]
pub struct FaultyCalls {
    store: Arc<dyn CallStore>,
    plan: Arc<Plan>,
}

impl FaultyCalls {
    /// Wraps a store.
    pub fn new(store: Arc<dyn CallStore>, plan: Arc<Plan>) -> Self {
        Self { store, plan }
    }
}

impl CallStore for FaultyCalls {
    fn get(&self, key: &CallKey) -> Result<Option<Record>> {
        self.plan.reads("read")?;
        self.store.get(key)
    }
    fn summary(&self, key: &CallKey) -> Result<Option<RecordSummary>> {
        self.plan.reads("read")?;
        self.store.summary(key)
    }
    fn put(&self, key: &CallKey, record: &Record) -> Result<()> {
        self.plan.writes("write")?;
        self.store.put(key, record)
    }
    fn contains(&self, key: &CallKey) -> Result<bool> {
        self.plan.reads("read the metadata of")?;
        self.store.contains(key)
    }
    fn keys(&self, prefix: &DigestPrefix) -> Result<Entries<'_, CallKey>> {
        self.plan.reads("list")?;
        let keys = self.store.keys(prefix)?;
        Ok(Box::new(keys.map(|key| self.plan.reads("list").and(key))))
    }
    fn remove(&self, key: &CallKey, only: Option<&Record>) -> Result<bool> {
        self.plan.writes("remove")?;
        self.store.remove(key, only)
    }
    fn find<'a>(&'a self, query: &'a Query) -> Result<Entries<'a, (CallKey, Record)>> {
        self.plan.reads("search")?;
        let found = self.store.find(query)?;
        Ok(Box::new(found.map(|found| self.plan.reads("search").and(found))))
    }
    fn claim(&self, key: &CallKey) -> Result<Claim> {
        self.plan.writes("claim in")?;
        self.store.claim(key)
    }
    fn claim_holder(&self, key: &CallKey) -> Result<Option<ClaimHolder>> {
        self.plan.reads("query claims in")?;
        self.store.claim_holder(key)
    }
    fn is_exclusive(&self) -> bool {
        self.store.is_exclusive()
    }
    fn identity(&self) -> usize {
        self.store.identity()
    }
    fn sync(&self, key: &CallKey) -> Result<()> {
        self.plan.writes("sync")?;
        self.store.sync(key)
    }
    fn may_block(&self) -> bool {
        self.store.may_block()
    }
    fn keeps_nothing(&self) -> bool {
        self.store.keeps_nothing()
    }
    fn config(&self) -> Box<dyn CallStoreConfig> {
        self.store.config()
    }
}
