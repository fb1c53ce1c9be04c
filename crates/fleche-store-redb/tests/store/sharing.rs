//! Tests of the one database that all handles to a file share.

use std::{sync::Arc, thread};

use super::common::{file, noise, put, put_record, record};
use fleche_core::{Cache, CallStore, DigestPrefix, Query, ValueStore};
use fleche_store_redb::{RedbCalls, RedbValues};

#[test]
fn caches_on_two_spellings_of_a_path_share_a_database() {
    let (directory, path) = file();
    let other = directory.path().join("a/../store.redb");
    std::fs::create_dir(directory.path().join("a")).unwrap();
    let (values, calls) = (RedbValues::open(&path).unwrap(), RedbCalls::open(&other).unwrap());
    let first = Cache::new(values.clone(), calls.clone());
    let second = Cache::new(RedbValues::open(&other).unwrap(), RedbCalls::open(&path).unwrap());
    let (key, found) = record("f", 1);
    put_record(&calls, &(key, found));
    put(&values, &noise(1, 100));
    assert!(first.contains(&key).unwrap() && second.contains(&key).unwrap());
    let id = put(&values, b"a value");
    assert!(RedbValues::open(&other).unwrap().contains(&id).unwrap());
    values.sync(&id).unwrap();
    assert_eq!((values.stats(), values.stats().operations), (calls.stats(), 3));
    assert_eq!(calls.identity(), RedbCalls::open(&path).unwrap().identity());
}

#[test]
fn file_can_be_opened_while_another_thread_closes_it() {
    let (_directory, path) = file();
    thread::scope(|scope| {
        for thread in 0..4 {
            let path = &path;
            scope.spawn(move || {
                for round in 0..20 {
                    let values = RedbValues::open(path).unwrap();
                    put(&values, &noise(1000 * thread + round, 100));
                }
            });
        }
    });
    assert_eq!(RedbValues::open(&path).unwrap().ids(&DigestPrefix::all()).unwrap().count(), 80);
}

#[test]
fn compact_does_not_wait_for_open_iterators_and_loses_nothing() {
    let (_directory, path) = file();
    let (values, calls) = (RedbValues::open(&path).unwrap(), RedbCalls::open(&path).unwrap());
    let ids: Vec<_> = (0..600).map(|number| put(&values, &noise(number, 10_000))).collect();
    (0..600).for_each(|number| put_record(&calls, &record("f", number)));
    values.remove_all(&ids[10..], None).unwrap();
    values.sync(&ids[0]).unwrap();
    let before = std::fs::metadata(&path).unwrap().len();
    let query = Query::new().function("f");
    let mut open = calls.find(&query).unwrap();
    assert!(open.next().unwrap().is_ok());
    assert!(values.compact().unwrap());
    let after = std::fs::metadata(&path).unwrap().len();
    assert!(after < before / 4, "{before} bytes became {after}");
    assert_eq!(open.filter_map(Result::ok).count(), 599);
    assert!(ids[..10].iter().all(|id| values.get(id).unwrap().is_some()));
    put_record(&calls, &record("f", 600));
    assert_eq!(calls.find(&query).unwrap().count(), 601);
}

#[test]
fn concurrent_operations_and_compact_see_intact_entries() {
    let (_directory, path) = file();
    let values = Arc::new(RedbValues::open(&path).unwrap());
    thread::scope(|scope| {
        for thread in 0..4u64 {
            let values = &values;
            scope.spawn(move || {
                for round in 0..100 {
                    let bytes = noise(round % 10, if round % 7 == 0 { 100_000 } else { 100 });
                    let id = put(&**values, &bytes);
                    assert!(values.get(&id).unwrap().is_none_or(|found| found == bytes));
                    if round % 3 == 0 {
                        values.remove(&id, None).unwrap();
                    }
                    if round % 25 == thread {
                        values.ids(&DigestPrefix::all()).unwrap().for_each(|id| assert!(id.is_ok()));
                        values.compact().unwrap();
                    }
                }
            });
        }
    });
}
