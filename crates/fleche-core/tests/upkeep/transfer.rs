//! Tests of transfers between caches.

use std::panic::{AssertUnwindSafe, catch_unwind};

use fleche_core::{CallStore, DigestPrefix, Query, ValueStore, cache::TransferReport};

use super::{file_of, filling, in_files, long, result_of, support::memory};

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
