//! Tests of the collection of unreferenced values.

use std::{
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
    time::Duration,
};

use fleche_core::{
    CallKey, CallStore, Digest, DigestPrefix, Error, ValueStore,
    cache::{Gc, GcReport, HotTier},
};
use fleche_store_file::FileCalls;

use super::{file_of, filling, in_files, long, make_old, result_of};

fn values(cache: &fleche_core::Cache) -> Vec<Digest> {
    cache.values().ids(&DigestPrefix::all()).unwrap().map(Result::unwrap).collect()
}

#[test]
fn only_old_unreferenced_values_are_removed() {
    let directory = tempfile::tempdir().unwrap();
    let cache = in_files(directory.path());
    cache.scope(|| (0..3).for_each(|x| drop(long(x, filling()))));
    let results = [0, 1, 2].map(|x| result_of(&cache, x));
    assert_eq!(values(&cache).len(), 4, "three results and the shared argument");
    assert_eq!(cache.gc(&Gc::new()).unwrap().removed, 0);
    for x in [0, 1] {
        assert!(cache.evict(&long::key(x, filling())).unwrap());
    }
    // One of the two unreferenced values is old, and so is a referenced one.
    make_old(directory.path(), &results[0]);
    make_old(directory.path(), &results[2]);
    let collected = cache.gc(&Gc::new()).unwrap();
    assert_eq!((collected.records, collected.kept, collected.removed), (1, 3, 1));
    assert!(!cache.values().contains(&results[0]).unwrap());
    assert_eq!(cache.gc(&Gc::new().grace(Duration::from_hours(3))).unwrap().removed, 0);
    make_old(directory.path(), &results[1]);
    assert_eq!(cache.gc(&Gc::new().grace(Duration::from_hours(1))).unwrap().removed, 1);
    assert_eq!(cache.scope(|| long::load(2, filling())).unwrap(), Some((2..102).collect()));
    assert_eq!(values(&cache).len(), 2);
}

#[test]
fn values_of_another_cache_are_kept_if_it_is_given() {
    let directory = tempfile::tempdir().unwrap();
    let cache = in_files(directory.path());
    let other =
        fleche_core::Cache::new(cache.values().clone(), FileCalls::open(directory.path().join("other calls")).unwrap())
            .hot_tier(HotTier::OFF);
    other.scope(|| long(1, filling()));
    for id in values(&cache) {
        make_old(directory.path(), &id);
    }
    assert_eq!(cache.gc(&Gc::new().keep(&other)).unwrap().removed, 0);
    assert_eq!(cache.gc(&Gc::new()).unwrap().removed, 2);
    assert_eq!(other.scope(|| long(1, filling())).len(), 100, "the call must be computed again");
    assert_eq!(other.stats().computed, 2);
}

#[test]
fn nothing_is_removed_if_references_cannot_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let cache = in_files(directory.path());
    cache.scope(|| long(1, filling()));
    let key = long::key(1, filling());
    let result = result_of(&cache, 1);
    make_old(directory.path(), &result);
    let file = file_of(&directory.path().join("calls"), key.digest());
    std::fs::write(&file, of_a_later_format(&key, &std::fs::read(&file).unwrap())).unwrap();
    let refused = cache.gc(&Gc::new());
    assert!(matches!(&refused, Err(Error::Refused { store, .. }) if store.contains(&key.to_string())), "{refused:?}");
    assert!(cache.values().contains(&result).unwrap());
    assert!(cache.calls().contains(&key).unwrap());
}

/// Returns the record as a later version of fleche might write it.
fn of_a_later_format(key: &CallKey, record: &[u8]) -> Vec<u8> {
    let mut map = record[..record.len() - 16].to_vec();
    let at = map.windows(7).position(|window| window == b"\x66format").expect("the record has no format field") + 7;
    map[at] = 9;
    let mut sum = [0; 16];
    blake3::Hasher::new().update(key.digest().as_bytes()).update(&map).finalize_xof().fill(&mut sum);
    [&map[..], &sum].concat()
}

#[test]
fn values_of_damaged_records_are_removed() {
    let directory = tempfile::tempdir().unwrap();
    let cache = in_files(directory.path());
    cache.scope(|| long(1, filling()));
    for id in values(&cache) {
        make_old(directory.path(), &id);
    }
    let file = file_of(&directory.path().join("calls"), long::key(1, filling()).digest());
    std::fs::write(file, b"damaged").unwrap();
    let GcReport { damaged, removed, .. } = cache.gc(&Gc::new()).unwrap();
    assert_eq!((damaged, removed), (1, 2));
}

#[test]
fn values_of_concurrent_calls_are_kept() {
    const CALLS: u64 = 60;
    let directory = tempfile::tempdir().unwrap();
    let cache = in_files(directory.path());
    for _ in 0..5 {
        // Old, unreferenced values, and calls that are about to refer to them.
        cache.scope(|| (0..CALLS).for_each(|x| drop(long(x, filling()))));
        let results: Vec<_> = (0..CALLS).map(|x| result_of(&cache, x)).collect();
        (0..CALLS).for_each(|x| assert!(cache.evict(&long::key(x, filling())).unwrap()));
        for id in &results {
            make_old(directory.path(), id);
        }
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(SeqCst) {
                    cache.gc(&Gc::new()).unwrap();
                }
            });
            let calls = scope.spawn(|| cache.scope(|| (0..CALLS).for_each(|x| drop(long(x, filling())))));
            calls.join().unwrap();
            done.store(true, SeqCst);
        });
        for (x, result) in (0..).zip(&results) {
            assert!(cache.contains(&long::key(x, filling())).unwrap(), "{x} has lost {result}");
        }
        (0..CALLS).for_each(|x| assert!(cache.evict(&long::key(x, filling())).unwrap()));
    }
}
