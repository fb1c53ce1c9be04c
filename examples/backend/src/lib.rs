//! A template for a backend in a crate of its own. It stores bytes in a map in memory, in place of a server or a database.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fleche_core::store::{CallStoreConfig, Check, Entries, OpenStores, Reach, ValueStoreConfig};
use fleche_core::{CallKey, CallStore, Digest, DigestPrefix, Error, Record, Result, ValueStore};

fleche_core::register_backend! {
    name: "example",
    summary: "a template for backends in crates of their own",
    reach: Reach::Process, durable: false,
    scratch: |_| (Box::new(ExampleConfig::new()), Box::new(ExampleConfig::new())),
}

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)] #[rustfmt::skip]
struct ExampleConfig { id: u64 }

#[rustfmt::skip] // One line per method keeps the whole backend on a page.
impl ExampleConfig {
    fn new() -> Self { Self { id: RandomState::new().hash_one(()) >> 1 } } // TOML integers have 63 bits.
    fn store(&self) -> Result<Arc<Example>> {
        static OPEN: OpenStores<u64, Example> = OpenStores::new();
        OPEN.get_or_open(self.id, || Ok(Example { config: self.clone(), entries: Mutex::default() }))
    }
}

#[typetag::serde(name = "example")] #[rustfmt::skip]
impl ValueStoreConfig for ExampleConfig {
    fn open(&self) -> Result<Arc<dyn ValueStore>> { Ok(self.store()?) }
    fn reach(&self) -> Reach { Reach::Process }
}

#[typetag::serde(name = "example")] #[rustfmt::skip]
impl CallStoreConfig for ExampleConfig {
    fn open(&self) -> Result<Arc<dyn CallStore>> { Ok(self.store()?) }
    fn reach(&self) -> Reach { Reach::Process }
}

#[derive(Debug)] #[rustfmt::skip]
struct Example { config: ExampleConfig, entries: Mutex<BTreeMap<Digest, (Bytes, Instant)>> }

#[rustfmt::skip]
impl Example {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Digest, (Bytes, Instant)>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn held(&self, id: &Digest) -> Option<Bytes> { self.lock().get(id).map(|(bytes, _)| bytes.clone()) }
    fn list<'a>(&'a self, prefix: &DigestPrefix) -> impl Iterator<Item = Digest> + Send + use<'a> {
        let (prefix, first) = (prefix.clone(), self.lock().keys().next().copied());
        let next = |id: &Digest| self.lock().range((Excluded(id), Unbounded)).next().map(|(id, _)| *id);
        std::iter::successors(first, next).filter(move |id| prefix.matches(id))
    }
}

#[rustfmt::skip]
impl ValueStore for Example {
    fn read(&self, id: &Digest, check: Check<'_>) -> Result<Option<Bytes>> {
        self.held(id).map(|bytes| check(bytes).map_err(|why| {
            self.lock().remove(id);
            Error::Damaged { entry: format!("value {id} of an example"), why }
        })).transpose()
    }
    fn put(&self, id: &Digest, encoded: &[u8]) -> Result<()> {
        self.lock().insert(*id, (Bytes::copy_from_slice(encoded), Instant::now())); Ok(())
    }
    fn contains(&self, id: &Digest) -> Result<bool> { Ok(self.lock().contains_key(id)) }
    fn age(&self, id: &Digest) -> Result<Option<Duration>> { Ok(self.lock().get(id).map(|(_, put)| put.elapsed())) }
    fn remove(&self, id: &Digest, older_than: Option<Duration>) -> Result<bool> {
        let old = |(_, put): &mut (Bytes, Instant)| older_than.is_none_or(|age| put.elapsed() > age);
        Ok(self.lock().extract_if(*id..=*id, |_, entry| old(entry)).next().is_some())
    }
    fn ids(&self, prefix: &DigestPrefix) -> Result<Entries<'_, Digest>> { Ok(Box::new(self.list(prefix).map(Ok))) }
    fn config(&self) -> Box<dyn ValueStoreConfig> { Box::new(self.config.clone()) }
}

#[rustfmt::skip]
impl CallStore for Example {
    fn get(&self, key: &CallKey) -> Result<Option<Record>> {
        self.held(key.digest()).map_or(Ok(None), |bytes| Record::from_bytes(key, &bytes))
    }
    fn put(&self, key: &CallKey, record: &Record) -> Result<()> {
        ValueStore::put(self, key.digest(), &record.to_bytes(key)?)
    }
    fn contains(&self, key: &CallKey) -> Result<bool> { ValueStore::contains(self, key.digest()) }
    fn keys(&self, prefix: &DigestPrefix) -> Result<Entries<'_, CallKey>> {
        Ok(Box::new(self.list(prefix).map(|id| Ok(id.into()))))
    }
    fn remove(&self, key: &CallKey, only: Option<&Record>) -> Result<bool> {
        let only = only.map(|record| record.to_bytes(key)).transpose()?;
        let same = |bytes: &Bytes| only.as_ref().is_none_or(|only| only == bytes);
        Ok(self.lock().extract_if(*key.digest()..=*key.digest(), |_, (bytes, _)| same(bytes)).next().is_some())
    }
    fn config(&self) -> Box<dyn CallStoreConfig> { Box::new(self.config.clone()) }
}
