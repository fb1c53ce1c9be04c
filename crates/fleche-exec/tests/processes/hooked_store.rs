//! A store with a hook, so that tests can count and fail its operations; and, over it, a store that one process may open
//! at a time, like embedded databases.

use std::{
    fmt,
    path::{Path, PathBuf},
    process,
    sync::Arc,
};

use bytes::Bytes;
use fleche_core::{
    Cache, CallKey, CallStore, Digest, Error, Record, Result, ValueStore,
    call::RecordSummary,
    claim::Claim,
    store::{CallStoreConfig, Check, Reach, ValueStoreConfig, kit},
};
use fleche_store_file::{FileCalls, FileValues};
use serde::{Deserialize, Serialize};

/// Returns a cache of such stores, held by this process.
pub(crate) fn exclusive(directory: &Path) -> Cache {
    let config = Exclusive { root: directory.to_owned(), holder: process::id(), is_full: false };
    config.cache()
}

/// Returns a cache of such stores that refuse every write.
pub(crate) fn full(directory: &Path) -> Cache {
    let config = Exclusive { root: directory.to_owned(), holder: process::id(), is_full: true };
    config.cache()
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Exclusive {
    root: PathBuf,
    holder: u32,
    is_full: bool,
}

impl Exclusive {
    fn cache(&self) -> Cache {
        let values: Box<dyn ValueStoreConfig> = Box::new(self.clone());
        let calls: Box<dyn CallStoreConfig> = Box::new(self.clone());
        Cache::new(values.open().unwrap(), calls.open().unwrap())
    }

    fn check_holder(&self) {
        assert_eq!(process::id(), self.holder, "an exclusive store is opened in another process");
    }

    /// Wraps an opened store, which refuses every write if it is full.
    fn hooked<S, C>(&self, store: S, config: C) -> HookedStore<S, C> {
        let is_full = self.is_full;
        HookedStore::new(store, config, move |operation| {
            let is_refused = is_full && operation == Operation::Write;
            if is_refused { Err(Error::backend("the exclusive store")("it is full")) } else { Ok(()) }
        })
    }
}

#[typetag::serde(name = "exclusive")]
impl ValueStoreConfig for Exclusive {
    fn open(&self) -> Result<Arc<dyn ValueStore>> {
        self.check_holder();
        let config: Box<dyn ValueStoreConfig> = Box::new(self.clone());
        Ok(Arc::new(self.hooked(FileValues::open(self.root.join("values"))?, config)))
    }

    fn reach(&self) -> Reach {
        Reach::Exclusive
    }
}

#[typetag::serde(name = "exclusive")]
impl CallStoreConfig for Exclusive {
    fn open(&self) -> Result<Arc<dyn CallStore>> {
        self.check_holder();
        let config: Box<dyn CallStoreConfig> = Box::new(self.clone());
        Ok(Arc::new(self.hooked(FileCalls::open(self.root.join("calls"))?, config)))
    }

    fn reach(&self) -> Reach {
        Reach::Exclusive
    }
}

/// Forwards every operation to a store, after a hook that may fail it. It leaves claims to the process.
#[derive(Clone)]
pub(crate) struct HookedStore<S, C> {
    store: S,
    config: C,
    before: Arc<dyn Fn(Operation) -> Result<()> + Send + Sync>,
}

/// An operation on a store, as hooks see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Read,
    Write,
    Claim,
}

impl<S, C> HookedStore<S, C> {
    /// Creates a store with this configuration that runs the hook before each operation.
    pub(crate) fn new(store: S, config: C, before: impl Fn(Operation) -> Result<()> + Send + Sync + 'static) -> Self {
        Self { store, config, before: Arc::new(before) }
    }
}

impl<S: fmt::Debug, C> fmt::Debug for HookedStore<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HookedStore").field(&self.store).finish()
    }
}

impl<S: ValueStore> kit::ValueStoreWrapper for HookedStore<S, Box<dyn ValueStoreConfig>> {
    type Inner = S;

    fn inner(&self) -> &S {
        &self.store
    }

    fn read(&self, id: &Digest, check: Check<'_>) -> Result<Option<Bytes>> {
        (self.before)(Operation::Read)?;
        self.store.read(id, check)
    }

    fn put(&self, id: &Digest, encoded: &[u8]) -> Result<()> {
        (self.before)(Operation::Write)?;
        self.store.put(id, encoded)
    }

    fn contains(&self, id: &Digest) -> Result<bool> {
        (self.before)(Operation::Read)?;
        self.store.contains(id)
    }

    fn config(&self) -> Box<dyn ValueStoreConfig> {
        self.config.clone()
    }
}

impl<S: CallStore> kit::CallStoreWrapper for HookedStore<S, Box<dyn CallStoreConfig>> {
    type Inner = S;

    fn inner(&self) -> &S {
        &self.store
    }

    fn get(&self, key: &CallKey) -> Result<Option<Record>> {
        (self.before)(Operation::Read)?;
        self.store.get(key)
    }

    fn summary(&self, key: &CallKey) -> Result<Option<RecordSummary>> {
        (self.before)(Operation::Read)?;
        self.store.summary(key)
    }

    fn put(&self, key: &CallKey, record: &Record) -> Result<()> {
        (self.before)(Operation::Write)?;
        self.store.put(key, record)
    }

    fn contains(&self, key: &CallKey) -> Result<bool> {
        (self.before)(Operation::Read)?;
        self.store.contains(key)
    }

    fn claim(&self, _: &CallKey) -> Result<Claim> {
        (self.before)(Operation::Claim)?;
        Ok(Claim::WithinProcess)
    }

    fn config(&self) -> Box<dyn CallStoreConfig> {
        self.config.clone()
    }
}
