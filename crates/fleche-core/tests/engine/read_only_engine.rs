//! Damaged entries of an engine that may only be read.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
};

use bytes::Bytes;
use fleche_core::{
    Cache, Digest, Result,
    cache::HotTier,
    fleche,
    layer::Void,
    store::{
        StorePair,
        kit::{Change, Entry, FileBacked, KeyValueEngine, KeyValueStore, Kind, OpenDatabase, StoreName, Stored},
    },
};

use super::support::{Runs, logged};

/// An engine in memory, which counts its writes.
struct Engine {
    name: StoreName,
    entries: Mutex<BTreeMap<Entry, (Bytes, u64)>>,
    is_read_only: AtomicBool,
    updates: AtomicUsize,
}

impl FileBacked for Engine {}

impl OpenDatabase for Engine {
    fn name(&self) -> &StoreName {
        &self.name
    }

    fn is_read_only(&self) -> bool {
        self.is_read_only.load(SeqCst)
    }
}

impl KeyValueEngine for Engine {
    fn get(&self, entry: Entry) -> Result<Option<Bytes>> {
        Ok(self.entries.lock().unwrap().get(&entry).map(|(bytes, _)| bytes.clone()))
    }

    fn put_time(&self, id: &Digest) -> Result<Option<u64>> {
        Ok(self.entries.lock().unwrap().get(&Entry::value(id)).map(|(_, time)| *time))
    }

    fn update<'c>(&self, entry: Entry, decide: impl FnOnce(Option<Stored<'_>>) -> Change<'c>) -> Result<bool> {
        self.updates.fetch_add(1, SeqCst);
        let mut entries = self.entries.lock().unwrap();
        match decide(entries.get(&entry).map(|(bytes, time)| Stored { bytes, time: Some(*time) })) {
            Change::Keep => return Ok(false),
            Change::Put(put) => drop(entries.insert(entry, (Bytes::copy_from_slice(put.bytes), put.time))),
            Change::Remove | Change::Quarantine => drop(entries.remove(&entry)),
        }
        Ok(true)
    }

    fn keys(&self, kind: Kind, (first, last): (Bound<Digest>, Bound<Digest>), max: usize) -> Result<Vec<Digest>> {
        let entry = |digest| Entry { kind, digest };
        let entries = self.entries.lock().unwrap();
        Ok(entries.range((first.map(entry), last.map(entry))).map(|(entry, _)| entry.digest).take(max).collect())
    }

    fn configs(&self) -> StorePair {
        (Box::new(Void), Box::new(Void))
    }
}

static RUNS: Runs = Runs::new();

/// Returns a result that is stored in the value store.
#[fleche]
fn long(x: u8) -> Vec<u8> {
    RUNS.count();
    vec![x; 10_000]
}

#[test]
fn damaged_entry_that_cannot_be_quarantined_stays_and_its_call_is_computed() {
    for (kind, x) in [(Kind::Value, 1), (Kind::Record, 2)] {
        let engine = Arc::new(Engine {
            name: StoreName::new("engine", x),
            entries: Mutex::default(),
            is_read_only: AtomicBool::new(false),
            updates: AtomicUsize::new(0),
        });
        let store = || KeyValueStore::new(engine.clone());
        let cache = Cache::builder().values(store()).calls(store()).hot_tier(HotTier::OFF).build();
        assert_eq!((cache.scope(|| long(x)), RUNS.take()), (vec![x; 10_000], 1));
        assert_eq!((cache.scope(|| long(x)), RUNS.take()), (vec![x; 10_000], 0));

        let mut entries = engine.entries.lock().unwrap();
        let (_, (bytes, _)) = entries.iter_mut().find(|(entry, _)| entry.kind == kind).unwrap();
        *bytes = bytes.iter().map(|byte| !byte).collect();
        let damaged = entries.clone();
        drop(entries);
        engine.is_read_only.store(true, SeqCst);
        let updates = engine.updates.load(SeqCst);

        let (results, log) = logged(|| [(); 3].map(|()| cache.scope(|| long(x))));
        assert_eq!((results, RUNS.take()), ([(); 3].map(|()| vec![x; 10_000]), 3));
        assert_eq!(engine.updates.load(SeqCst), updates, "an engine that may only be read was written to");
        assert_eq!(*engine.entries.lock().unwrap(), damaged);
        assert_eq!(log.matches("is damaged").count(), 1, "{log}");
        assert!(log.contains("it stays in place"), "{log}");
    }
}
