//! Tests of replacing and removing records, and of records of later formats.

use std::{collections::BTreeMap, fs, thread};

use super::common::{calls, file_of, files, key, record};
use fleche_core::{CallStore, Digest, Error, Query, encoding};
use fleche_store_file::FileCalls;

/// Writes an intact record of a future format, and returns its bytes.
fn put_later_format(calls: &FileCalls) -> Vec<u8> {
    calls.put(&key(1), &record(b"now")).unwrap();
    let mut bytes = encoding::to_vec(&BTreeMap::from([("format", 2)])).unwrap();
    let checksum = Digest::hash(&[&key(1).digest().as_bytes()[..], &bytes].concat());
    bytes.extend_from_slice(&checksum.as_bytes()[..16]);
    fs::write(file_of(calls.root(), key(1).digest()), &bytes).unwrap();
    bytes
}

#[test]
fn record_other_than_the_given_one_is_not_removed() {
    let (root, calls) = calls();
    assert!(!calls.remove(&key(1), Some(&record(b"a"))).unwrap());
    calls.put(&key(1), &record(b"a")).unwrap();
    assert!(!calls.remove(&key(1), Some(&record(b"b"))).unwrap());
    assert!(calls.remove(&key(1), Some(&record(b"a"))).unwrap());
    assert!(!calls.remove(&key(1), None).unwrap());
    assert_eq!(files(root.path()), [""; 0]);
}

#[test]
fn record_put_during_removal_of_earlier_one_survives() {
    let (root, calls) = calls();
    for _ in 0..300 {
        calls.put(&key(1), &record(b"old")).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| calls.remove(&key(1), Some(&record(b"old"))).unwrap());
            scope.spawn(|| calls.remove(&key(1), Some(&record(b"old"))).unwrap());
            scope.spawn(|| calls.put(&key(1), &record(b"new")).unwrap());
        });
        assert_eq!(calls.get(&key(1)).unwrap(), Some(record(b"new")));
    }
    assert_eq!(files(root.path()).len(), 1);
}

#[test]
fn only_one_of_several_threads_removes_a_record() {
    let (_root, calls) = calls();
    for _ in 0..100 {
        calls.put(&key(1), &record(b"a")).unwrap();
        let removed: usize = thread::scope(|scope| {
            let threads = [(); 4].map(|()| scope.spawn(|| calls.remove(&key(1), Some(&record(b"a"))).unwrap()));
            threads.map(|thread| usize::from(thread.join().unwrap())).iter().sum()
        });
        assert_eq!(removed, 1);
    }
}

#[test]
fn record_of_later_format_is_a_miss_and_left_in_place() {
    let (root, calls) = calls();
    let bytes = put_later_format(&calls);
    assert_eq!(calls.get(&key(1)).unwrap(), None);
    assert!(calls.contains(&key(1)).unwrap());
    assert!(!calls.remove(&key(1), None).unwrap());
    assert!(!calls.remove(&key(1), Some(&record(b"now"))).unwrap());
    assert_eq!(calls.find(&Query::new()).unwrap().count(), 0);
    assert_eq!(fs::read(file_of(root.path(), key(1).digest())).unwrap(), bytes);
}

#[test]
fn known_record_of_later_format_is_not_replaced() {
    let (root, calls) = calls();
    let bytes = put_later_format(&calls);
    calls.get(&key(1)).unwrap();
    let error = FileCalls::open(root.path()).unwrap().put(&key(1), &record(b"now")).unwrap_err();
    assert!(matches!(error, Error::Refused { .. }) && error.to_string().contains(root.path().to_str().unwrap()));
    assert_eq!(fs::read(file_of(root.path(), key(1).digest())).unwrap(), bytes);
}

#[test]
fn record_is_stored_after_one_of_later_format_is_gone() {
    let (root, calls) = calls();
    put_later_format(&calls);
    calls.get(&key(1)).unwrap();
    fs::remove_file(file_of(root.path(), key(1).digest())).unwrap();
    calls.put(&key(1), &record(b"now")).unwrap();
    assert_eq!(calls.get(&key(1)).unwrap(), Some(record(b"now")));
}

#[test]
fn damaged_record_is_removed_only_without_condition() {
    let (root, calls) = calls();
    calls.put(&key(1), &record(b"a")).unwrap();
    fs::write(file_of(root.path(), key(1).digest()), b"damaged").unwrap();
    assert!(!calls.remove(&key(1), Some(&record(b"a"))).unwrap());
    assert!(calls.remove(&key(1), None).unwrap());
}

#[test]
fn record_can_be_synced() {
    let (_root, calls) = calls();
    calls.put(&key(1), &record(b"a")).unwrap();
    calls.sync(&key(1)).unwrap();
}
