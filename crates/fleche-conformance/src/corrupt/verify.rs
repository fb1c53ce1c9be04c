//! Checks the results of users' calls with a damaged store.

use std::{collections::BTreeMap, path::Path};

use fleche_core::{
    Cache, CallKey, Digest, DigestPrefix, Record, Result as StoreResult,
    cache::HotTier,
    store::{BackendInfo, Entries},
};

use crate::{
    capture::take_caught_panic,
    fixture::Stores,
    test_calls::{Call, Scene},
};

/// The calls that are recorded, with results and arguments of many sizes.
const CALLS: [Call; 14] = [
    Call::Short(3),
    Call::Short(4),
    Call::Long(5, 65),
    Call::Long(6, 300),
    Call::Long(7, 1_000),
    Call::Long(8, 4_096),
    Call::Long(9, 5_000),
    Call::Long(10, 70_000),
    Call::OfLong(20, 100),
    Call::OfLong(21, 4_000),
    Call::OfLong(22, 20_000),
    Call::Nested(30),
    // The two calls that the nested call makes.
    Call::Long(30, 100),
    Call::Long(31, 100),
];

/// The content of the store before it was damaged.
pub(super) struct Known {
    scene: Scene,
    values: Vec<Digest>,
    records: BTreeMap<CallKey, Record>,
}

/// The effect of the damage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing is missing.
    Harmless,
    /// Entries were reported as damaged or were absent, and are present again.
    Reported,
    /// The store fails to open, with an error.
    Refused,
    /// The store does not record calls that were computed again, with or without an error.
    Unrepaired(String),
}

impl Known {
    /// Makes the calls with stores in this directory, and closes the stores.
    pub(super) fn write(backend: &BackendInfo, directory: &Path) -> Result<Self, String> {
        let (scene, stores) = (Scene::new(), Stores::open(backend, directory)?);
        let cache = without_hot_tier(&stores);
        calls(&cache, scene)?;
        let failed = |error| format!("the store fails before it was damaged: {error:?}");
        let values = stores.values.ids(&DigestPrefix::all()).and_then(Iterator::collect).map_err(failed)?;
        let keys: Vec<_> = stores.calls.keys(&DigestPrefix::all()).and_then(Iterator::collect).map_err(failed)?;
        let mut records = BTreeMap::new();
        for key in keys {
            if let Some(record) = stores.calls.get(&key).map_err(failed)? {
                records.insert(key, record);
            }
        }
        if records.len() != CALLS.len() {
            return Err(format!("of {} calls, only {} are recorded", CALLS.len(), records.len()));
        }
        Ok(Self { scene, values, records })
    }
}

/// Opens the damaged store, makes every call twice, reads every entry, reopens the store and makes every call again.
///
/// Returns the outcome, and the last panic that the store or the cache caught, if there was one.
///
/// # Errors
/// Fails if a call returns a wrong result, or an entry has wrong content.
pub(super) fn verify(
    backend: &BackendInfo,
    directory: &Path,
    known: &Known,
) -> Result<(Outcome, Option<String>), String> {
    let outcome = outcome(backend, directory, known)?;
    Ok((outcome, take_caught_panic()))
}

fn outcome(backend: &BackendInfo, directory: &Path, known: &Known) -> Result<Outcome, String> {
    let scene = known.scene;
    let missing = {
        let Ok(stores) = Stores::open(backend, directory) else { return Ok(Outcome::Refused) };
        let cache = without_hot_tier(&stores);
        let before = scene.runs();
        calls(&cache, scene)?;
        let missing = scene.runs() - before + cache.stats().faults;
        if let Some(unrepaired) = hits(&cache, scene, "at the second call")? {
            return Ok(unrepaired);
        }
        missing + read_all(&stores, known)?
    };
    let Ok(stores) = Stores::open(backend, directory) else { return Ok(Outcome::Refused) };
    if let Some(unrepaired) = hits(&without_hot_tier(&stores), scene, "after reopening the store")? {
        return Ok(unrepaired);
    }
    Ok(if missing > 0 { Outcome::Reported } else { Outcome::Harmless })
}

/// Creates a cache without a hot tier, so that every hit is read from the stores.
fn without_hot_tier(stores: &Stores) -> Cache {
    Cache::builder().values(stores.values.clone()).calls(stores.calls.clone()).hot_tier(HotTier::OFF).build()
}

fn calls(cache: &Cache, scene: Scene) -> Result<(), String> {
    cache.scope(|| CALLS.into_iter().try_for_each(|call| scene.call(call)))
}

/// Makes every call, and returns [`Outcome::Unrepaired`] if one of them is not a hit or the store fails.
fn hits(cache: &Cache, scene: Scene, when: &str) -> Result<Option<Outcome>, String> {
    let (before, faults) = (scene.runs(), cache.stats().faults);
    calls(cache, scene).map_err(|why| format!("{when}: {why}"))?;
    let (again, faults) = (scene.runs() - before, cache.stats().faults - faults);
    let unrepaired =
        || format!("{when}, {again} calls are computed and the store fails {faults} times: it is not repaired");
    Ok(((again, faults) != (0, 0)).then(|| Outcome::Unrepaired(unrepaired())))
}

/// Reads every entry that was stored before, and returns how many are absent or cannot be read or listed.
fn read_all(stores: &Stores, known: &Known) -> Result<u64, String> {
    let mut missing = listed(stores.values.ids(&DigestPrefix::all())) + listed(stores.calls.keys(&DigestPrefix::all()));
    for id in &known.values {
        match stores.values.get(id) {
            Ok(Some(bytes)) if Digest::hash(&bytes) != *id => return Err(format!("the bytes of value {id} are wrong")),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => missing += 1,
        }
    }
    for (key, expected) in &known.records {
        match stores.calls.get(key) {
            // The call may have been computed again, so the time of writing is not compared.
            Ok(Some(found)) => {
                let same = |record: &Record| (record.function.clone(), record.arguments.clone(), record.result);
                if same(&found) != same(expected) {
                    return Err(format!("the record of {key} is wrong: {found:?}"));
                }
            }
            Ok(None) | Err(_) => missing += 1,
        }
    }
    Ok(missing)
}

/// Returns the number of errors in a list of entries, or 1 if the listing itself failed.
fn listed<T>(entries: StoreResult<Entries<'_, T>>) -> u64 {
    entries.map_or(1, |entries| entries.map(|entry| u64::from(entry.is_err())).sum())
}
