//! A store that one process may open at a time, like embedded databases, and that may block.

use std::{
    path::{Path, PathBuf},
    process,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use fleche_core::{
    Cache, CallKey, CallStore, Digest, DigestPrefix, Error, Record, Result, ValueStore,
    store::{CallStoreConfig, Check, Entries, Reach, ValueStoreConfig},
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
        Cache::of(values.open().unwrap(), calls.open().unwrap(), true)
    }

    fn check_holder(&self) {
        assert_eq!(process::id(), self.holder, "an exclusive store is opened in another process");
    }

    fn check_space(&self) -> Result<()> {
        if self.is_full { Err(Error::backend("the exclusive store")("it is full")) } else { Ok(()) }
    }
}

#[typetag::serde(name = "exclusive")]
impl ValueStoreConfig for Exclusive {
    fn open(&self) -> Result<Arc<dyn ValueStore>> {
        self.check_holder();
        Ok(Arc::new(Held { store: FileValues::open(self.root.join("values"))?, config: self.clone() }))
    }

    fn reach(&self) -> Reach {
        Reach::Exclusive
    }
}

#[typetag::serde(name = "exclusive")]
impl CallStoreConfig for Exclusive {
    fn open(&self) -> Result<Arc<dyn CallStore>> {
        self.check_holder();
        Ok(Arc::new(Held { store: FileCalls::open(self.root.join("calls"))?, config: self.clone() }))
    }

    fn reach(&self) -> Reach {
        Reach::Exclusive
    }
}

#[derive(Debug)]
struct Held<S> {
    store: S,
    config: Exclusive,
}

impl ValueStore for Held<FileValues> {
    fn read(&self, id: &Digest, check: Check<'_>) -> Result<Option<Bytes>> {
        self.store.read(id, check)
    }

    fn put(&self, id: &Digest, encoded: &[u8]) -> Result<()> {
        self.config.check_space()?;
        self.store.put(id, encoded)
    }

    fn contains(&self, id: &Digest) -> Result<bool> {
        self.store.contains(id)
    }

    fn age(&self, id: &Digest) -> Result<Option<Duration>> {
        self.store.age(id)
    }

    fn remove(&self, id: &Digest, older_than: Option<Duration>) -> Result<bool> {
        self.store.remove(id, older_than)
    }

    fn ids(&self, prefix: &DigestPrefix) -> Result<Entries<'_, Digest>> {
        self.store.ids(prefix)
    }

    fn config(&self) -> Box<dyn ValueStoreConfig> {
        Box::new(self.config.clone())
    }
}

impl CallStore for Held<FileCalls> {
    fn get(&self, key: &CallKey) -> Result<Option<Record>> {
        self.store.get(key)
    }

    fn put(&self, key: &CallKey, record: &Record) -> Result<()> {
        self.config.check_space()?;
        self.store.put(key, record)
    }

    fn contains(&self, key: &CallKey) -> Result<bool> {
        self.store.contains(key)
    }

    fn keys(&self, prefix: &DigestPrefix) -> Result<Entries<'_, CallKey>> {
        self.store.keys(prefix)
    }

    fn remove(&self, key: &CallKey, only: Option<&Record>) -> Result<bool> {
        self.store.remove(key, only)
    }

    fn config(&self) -> Box<dyn CallStoreConfig> {
        Box::new(self.config.clone())
    }
}
