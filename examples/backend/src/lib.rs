//! A template for a backend in a crate of its own. It stores bytes in a map in memory, in place of a server or a database.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    ops::Bound,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use fleche_core::{
    CallStore, Digest, Result, ValueStore,
    store::kit::{
        Change, Entry, FileBacked, KeyValueEngine, KeyValueStore, Kind, LockResultExt as _, OpenDatabase, StoreName,
        Stored,
    },
    store::{CallStoreConfig, OpenStores, Reach, StorePair, ValueStoreConfig},
};

fleche_core::register_backend! {
    name: "example",
    summary: "a template for backends in crates of their own",
    reach: Reach::Process,
    durable: false,
    scratch: |_| ExampleConfig { id: RandomState::new().hash_one(()) >> 1 }.pair(), // TOML integers have 63 bits.
}

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct ExampleConfig {
    id: u64,
}

impl ExampleConfig {
    fn pair(&self) -> StorePair {
        (Box::new(self.clone()), Box::new(self.clone()))
    }

    fn store(&self) -> Result<Arc<KeyValueStore<Example>>> {
        static OPEN: OpenStores<u64, Example> = OpenStores::new();
        let name = StoreName::new("example", self.id);
        let open = || Ok(Example { name, config: self.clone(), entries: Mutex::default() });
        Ok(Arc::new(KeyValueStore::new(OPEN.get_or_open(self.id, open)?)))
    }
}

#[typetag::serde(name = "example")]
impl ValueStoreConfig for ExampleConfig {
    fn open(&self) -> Result<Arc<dyn ValueStore>> {
        Ok(self.store()?)
    }

    fn reach(&self) -> Reach {
        Reach::Process
    }
}

#[typetag::serde(name = "example")]
impl CallStoreConfig for ExampleConfig {
    fn open(&self) -> Result<Arc<dyn CallStore>> {
        Ok(self.store()?)
    }

    fn reach(&self) -> Reach {
        Reach::Process
    }
}

/// The open store: a map from entries to their bytes and the times when they were put.
struct Example {
    name: StoreName,
    config: ExampleConfig,
    entries: Mutex<BTreeMap<Entry, (Bytes, u64)>>,
}

impl FileBacked for Example {}

impl OpenDatabase for Example {
    fn name(&self) -> &StoreName {
        &self.name
    }
}

impl KeyValueEngine for Example {
    fn get(&self, entry: Entry) -> Result<Option<Bytes>> {
        Ok(self.entries.lock().ignore_poison().get(&entry).map(|(bytes, _)| bytes.clone()))
    }

    fn put_time(&self, id: &Digest) -> Result<Option<u64>> {
        Ok(self.entries.lock().ignore_poison().get(&Entry::value(id)).map(|(_, time)| *time))
    }

    fn update<'c>(&self, entry: Entry, decide: impl FnOnce(Option<Stored<'_>>) -> Change<'c>) -> Result<bool> {
        let mut entries = self.entries.lock().ignore_poison();
        match decide(entries.get(&entry).map(|(bytes, time)| Stored { bytes, time: Some(*time) })) {
            Change::Keep => return Ok(false),
            Change::Put(put) => drop(entries.insert(entry, (Bytes::copy_from_slice(put.bytes), put.time))),
            Change::Remove | Change::Quarantine => drop(entries.remove(&entry)),
        }
        Ok(true)
    }

    fn keys(&self, kind: Kind, range: (Bound<Digest>, Bound<Digest>), max: usize) -> Result<Vec<Digest>> {
        let entry = |digest| Entry { kind, digest };
        let entries = self.entries.lock().ignore_poison();
        let keys = entries.range((range.0.map(entry), range.1.map(entry))).map(|(entry, _)| entry.digest);
        Ok(keys.take(max).collect())
    }

    fn configs(&self) -> StorePair {
        self.config.pair()
    }
}
