//! `Counting`: a value store that counts its calls of `put`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use fleche_core::{
    Digest, DigestPrefix, Result, ValueStore,
    store::{Check, Entries, ValueStoreConfig},
};

#[derive(Debug)]
pub(super) struct Counting {
    store: Arc<dyn ValueStore>,
    puts: AtomicUsize,
}

impl Counting {
    pub(super) fn of(store: Arc<dyn ValueStore>) -> Self {
        Self { store, puts: AtomicUsize::default() }
    }

    pub(super) fn puts(&self) -> usize {
        self.puts.load(SeqCst)
    }
}

impl ValueStore for Counting {
    fn read(&self, id: &Digest, check: Check<'_>) -> Result<Option<Bytes>> {
        self.store.read(id, check)
    }
    fn put(&self, id: &Digest, encoded: &[u8]) -> Result<()> {
        self.puts.fetch_add(1, SeqCst);
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
        self.store.config()
    }
}
