//! A store with hooks, so that tests can count, delay or fail its operations.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use fleche_core::{
    CallKey, CallStore, Digest, Record, Result, ValueStore,
    call::RecordSummary,
    claim::Claim,
    store::{Check, kit},
};

/// An operation on a store, as hooks see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    ReadValue,
    ContainsValue,
    WriteValue,
    ReadRecord,
    ContainsRecord,
    WriteRecord,
    Claim,
}

/// Forwards every operation to a store, after a hook that may fail it.
#[derive(Clone)]
pub(crate) struct HookedStore<S> {
    store: S,
    before: Arc<dyn Fn(Operation) -> Result<()> + Send + Sync>,
    after_write_record: Arc<dyn Fn() + Send + Sync>,
    claim: Arc<dyn Fn() -> Result<Claim> + Send + Sync>,
    is_exclusive: bool,
}

impl<S> HookedStore<S> {
    /// Creates a store that runs the hook before each operation. It leaves claims to the process, and is not exclusive.
    pub(crate) fn new(store: S, before: impl Fn(Operation) -> Result<()> + Send + Sync + 'static) -> Self {
        let claim = || Ok(Claim::WithinProcess);
        let (before, after_write_record) = (Arc::new(before), Arc::new(|| ()));
        Self { store, before, after_write_record, claim: Arc::new(claim), is_exclusive: false }
    }

    /// Runs the hook after each write of a record.
    pub(crate) fn after_write_record(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.after_write_record = Arc::new(hook);
        self
    }

    /// Answers requests for claims with the closure's result.
    pub(crate) fn with_claim(mut self, claim: impl Fn() -> Result<Claim> + Send + Sync + 'static) -> Self {
        self.claim = Arc::new(claim);
        self
    }

    /// Sets whether the store says that no other process writes to it.
    pub(crate) fn with_exclusive(mut self, is_exclusive: bool) -> Self {
        self.is_exclusive = is_exclusive;
        self
    }
}

impl<S: fmt::Debug> fmt::Debug for HookedStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HookedStore").field(&self.store).finish()
    }
}

impl<S: ValueStore> kit::ValueStoreWrapper for HookedStore<S> {
    type Inner = S;

    fn inner(&self) -> &S {
        &self.store
    }
    fn read(&self, id: &Digest, check: Check<'_>) -> Result<Option<Bytes>> {
        (self.before)(Operation::ReadValue)?;
        self.store.read(id, check)
    }
    fn put(&self, id: &Digest, encoded: &[u8]) -> Result<()> {
        (self.before)(Operation::WriteValue)?;
        self.store.put(id, encoded)
    }
    fn contains(&self, id: &Digest) -> Result<bool> {
        (self.before)(Operation::ContainsValue)?;
        self.store.contains(id)
    }
    fn may_block(&self) -> bool {
        true
    }
}

impl<S: CallStore> kit::CallStoreWrapper for HookedStore<S> {
    type Inner = S;

    fn inner(&self) -> &S {
        &self.store
    }
    fn get(&self, key: &CallKey) -> Result<Option<Record>> {
        (self.before)(Operation::ReadRecord)?;
        self.store.get(key)
    }
    fn summary(&self, key: &CallKey) -> Result<Option<RecordSummary>> {
        (self.before)(Operation::ReadRecord)?;
        self.store.summary(key)
    }
    fn put(&self, key: &CallKey, record: &Record) -> Result<()> {
        (self.before)(Operation::WriteRecord)?;
        self.store.put(key, record)?;
        (self.after_write_record)();
        Ok(())
    }
    fn contains(&self, key: &CallKey) -> Result<bool> {
        (self.before)(Operation::ContainsRecord)?;
        self.store.contains(key)
    }
    fn claim(&self, _: &CallKey) -> Result<Claim> {
        (self.before)(Operation::Claim)?;
        (self.claim)()
    }
    fn is_exclusive(&self) -> bool {
        self.is_exclusive
    }
    fn may_block(&self) -> bool {
        true
    }
}
