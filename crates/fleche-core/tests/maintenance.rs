//! Tests of cache maintenance: collecting, verifying and transferring entries.
#![allow(missing_docs)]

#[path = "engine/support.rs"]
#[allow(dead_code)] // The module is shared with the engine tests.
mod support;

use std::{
    fs::File,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
    time::{Duration, SystemTime},
};

use fleche_core::{
    Cache, CallKey, CallStore, Digest, DigestPrefix, Error, Query, ValueStore,
    cache::{Gc, GcReport, HotTier, TransferReport},
    fleche,
};
use fleche_store_file::{FileCalls, FileValues};
use support::memory;

/// A function whose result and one argument are too long to be stored in the record.
#[fleche]
fn long(x: u64, filling: String) -> Vec<u64> {
    assert!(filling.len() > 100);
    (0..100).map(|y| x + y).collect()
}

fn filling() -> String {
    "f".repeat(101)
}

/// Opens a cache that reads every hit from the disk.
fn in_files(directory: &Path) -> Cache {
    let open = |name| directory.join(name);
    let cache = Cache::new(FileValues::open(open("values")).unwrap(), FileCalls::open(open("calls")).unwrap());
    cache.to_builder().hot_tier(HotTier::OFF).build()
}

/// Returns the file of an entry in this directory of entries.
fn file_of(directory: &Path, id: &Digest) -> PathBuf {
    let name = id.to_string();
    directory.join(&name[..2]).join(&name[2..])
}

/// Changes the time of the value's last put to two hours ago.
fn make_old(directory: &Path, id: &Digest) {
    let file = File::options().write(true).open(file_of(&directory.join("values"), id)).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_hours(2)).unwrap();
}

/// Returns the id of the call's result.
fn result_of(cache: &Cache, x: u64) -> Digest {
    let record = cache.record(&long::key(x, filling())).unwrap().expect("the call has no record");
    *record.result.stored().expect("the result is stored inline")
}

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
    let other = fleche_core::Cache::builder()
        .values(cache.values().clone())
        .calls(FileCalls::open(directory.path().join("other calls")).unwrap())
        .hot_tier(HotTier::OFF)
        .build();
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

#[test]
fn records_and_values_are_copied_once() {
    let directory = tempfile::tempdir().unwrap();
    let (here, there) = (in_files(directory.path()), memory());
    here.scope(|| (0..5).for_each(|x| drop(long(x, filling()))));
    let done = here.transfer(&there, &Query::new(), |_| ()).unwrap();
    assert_eq!((done.records, done.values, done.skipped), (5, 6, 0));
    let again = here.transfer(&there, &Query::new(), |_| ()).unwrap();
    assert_eq!((again.records, again.values, again.skipped), (0, 0, 5));
    there.scope(|| (0..5).for_each(|x| assert_eq!(long(x, filling())[1], x + 1)));
    assert_eq!((there.stats().computed, there.stats().hits), (0, 5));
    let (key, calls) = (long::key(3, filling()), [here.calls(), there.calls()]);
    assert_eq!(calls[0].get(&key).unwrap(), calls[1].get(&key).unwrap(), "the record must be copied with its metadata");
}

#[test]
fn only_records_that_match_the_query_are_copied() {
    let (here, there) = (memory(), memory());
    here.scope(|| (0..5).for_each(|x| drop(long(x, filling()))));
    let done = here.transfer(&there, &long::query().argument("x", &2_u64).unwrap(), |_| ()).unwrap();
    assert_eq!((done.records, done.values), (1, 2));
    assert_eq!(there.calls().keys(&DigestPrefix::all()).unwrap().count(), 1);
}

#[test]
fn interrupted_transfer_resumes() {
    let (here, there) = (memory(), memory());
    here.scope(|| (0..20).for_each(|x| drop(long(x, filling()))));
    let broken_off = catch_unwind(AssertUnwindSafe(|| {
        here.transfer(&there, &Query::new(), |so_far| assert!(so_far.records < 7, "interrupted"))
    }));
    assert!(broken_off.is_err());
    for key in there.calls().keys(&DigestPrefix::all()).unwrap() {
        assert!(there.contains(&key.unwrap()).unwrap(), "every copied record must have its result");
    }
    let done = here.transfer(&there, &Query::new(), |_| ()).unwrap();
    assert_eq!((done.records, done.skipped, done.values), (13, 7, 13));
    assert!(there.verify(|_| ()).unwrap().is_whole());
}

#[test]
fn existing_records_are_kept_and_lost_results_restored() {
    let directory = tempfile::tempdir().unwrap();
    let (here, there) = (memory(), in_files(directory.path()));
    for cache in [&here, &there] {
        cache.scope(|| (0..2).for_each(|x| drop(long(x, filling()))));
    }
    let keys = [0, 1].map(|x| long::key(x, filling()));
    let before = keys.map(|key| there.record(&key).unwrap());
    std::fs::remove_file(file_of(&directory.path().join("values"), &result_of(&there, 1))).unwrap();
    let done = here.transfer(&there, &Query::new(), |_| ()).unwrap();
    assert_eq!((done.records, done.skipped, done.values), (1, 1, 1));
    assert_eq!(there.record(&keys[0]).unwrap(), before[0]);
    assert!(there.contains(&keys[1]).unwrap());
}

#[test]
fn damaged_entries_are_not_copied() {
    let directory = tempfile::tempdir().unwrap();
    let (here, there) = (in_files(directory.path()), memory());
    here.scope(|| (0..4).for_each(|x| drop(long(x, filling()))));
    let values = directory.path().join("values");
    std::fs::write(file_of(&values, &result_of(&here, 0)), b"damaged").unwrap();
    std::fs::remove_file(file_of(&values, &result_of(&here, 1))).unwrap();
    let TransferReport { records, without_result, damaged, .. } = here.transfer(&there, &Query::new(), |_| ()).unwrap();
    assert_eq!((records, without_result, damaged.len()), (2, 1, 1), "{damaged:?}");
    assert!(there.verify(|_| ()).unwrap().is_whole());
    // A call with a missing argument is still copied.
    let argument = here.record(&long::key(2, filling())).unwrap().unwrap().arguments[1].1;
    here.values().remove(argument.stored().unwrap(), None).unwrap();
    assert_eq!(here.transfer(&memory(), &Query::new(), |_| ()).unwrap().records, 2);
}

#[test]
fn evict_all_removes_the_records_that_match_the_query() {
    let cache = memory();
    cache.scope(|| (0..5).for_each(|x| drop(long(x, filling()))));
    assert_eq!(cache.evict_all(&long::query().argument("x", &2_u64).unwrap()).unwrap(), 1);
    assert!(!cache.contains(&long::key(2, filling())).unwrap());
    assert_eq!(cache.evict_all(&long::query()).unwrap(), 4);
    assert_eq!(cache.evict_all(&Query::new()).unwrap(), 0);
}

#[test]
fn damaged_entries_are_reported_and_recomputed() {
    let directory = tempfile::tempdir().unwrap();
    let cache = in_files(directory.path());
    cache.scope(|| (0..4).for_each(|x| drop(long(x, filling()))));
    let whole = cache.verify(|_| ()).unwrap();
    assert!(whole.is_whole());
    assert_eq!((whole.records, whole.values), (4, 5));

    // One result is damaged, another is missing, and the record of a third call is damaged.
    let values = directory.path().join("values");
    std::fs::write(file_of(&values, &result_of(&cache, 0)), b"damaged").unwrap();
    std::fs::remove_file(file_of(&values, &result_of(&cache, 1))).unwrap();
    let record = long::key(2, filling());
    std::fs::write(file_of(&directory.path().join("calls"), record.digest()), b"damaged").unwrap();

    let mut told = Vec::new();
    let found = cache.verify(|so_far| told.push(so_far.damaged.len())).unwrap();
    assert_eq!((found.records, found.values, found.without_result), (3, 3, 2));
    assert_eq!(found.damaged.len(), 2, "{:?}", found.damaged);
    assert!(found.damaged[1].contains(&record.to_string()[2..]), "{:?}", found.damaged);
    assert_eq!((told.len(), told.last()), (8, Some(&2)), "progress is reported for each entry");
    assert!(!found.is_whole());

    // Damaged entries were quarantined and count as absent.
    assert_eq!(cache.verify(|_| ()).unwrap().damaged, [""; 0]);
    assert_eq!(cache.values().ids(&DigestPrefix::all()).unwrap().count(), 3);
    assert_eq!(cache.calls().keys(&DigestPrefix::all()).unwrap().count(), 3);
    cache.scope(|| (0..4).for_each(|x| assert_eq!(long(x, filling())[0], x)));
    assert_eq!((cache.stats().computed, cache.stats().hits), (7, 1));
    assert!(cache.verify(|_| ()).unwrap().is_whole());
}
