//! Tests of damaged entries, which are reported once and quarantined, and of records of later formats, which stay.

use std::collections::BTreeMap;

use super::common::{RECORDS, damaged, file, flip, noise, put, put_record, record};
use fleche_core::{CallStore, Digest, Error, Query, ValueStore, encoding};
use fleche_store_redb::{RedbCalls, RedbValues};

#[test]
fn damaged_value_is_reported_once_quarantined_and_can_be_put_again() {
    let (_directory, path) = file();
    let bytes = noise(1, 1000);
    let id = put(&RedbValues::open(&path).unwrap(), &bytes);
    flip(&path, &bytes);
    {
        let values = RedbValues::open(&path).unwrap();
        let error = values.get(&id).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::Damaged { .. }) && text.contains(&id.to_string()), "{text}");
        assert!(text.contains("table `damaged`") && text.contains("store.redb"), "{text}");
        assert_eq!(values.get(&id).unwrap(), None);
        assert!(!values.contains(&id).unwrap() && values.age(&id).unwrap().is_none());
        put(&values, &bytes);
        assert_eq!(values.get(&id).unwrap().as_deref(), Some(&*bytes));
    }
    let [(_, kept)] = &damaged(&path)[..] else { panic!("expected one quarantined entry") };
    let mut expected = [b"v", &id.as_bytes()[..], &bytes].concat();
    expected[33] ^= 1;
    assert_eq!(*kept, expected);
}

#[test]
fn at_most_64_damaged_entries_are_kept() {
    let (_directory, path) = file();
    {
        let values = RedbValues::open(&path).unwrap();
        for number in 0u64..100 {
            let id = Digest::hash(&number.to_le_bytes());
            values.put(&id, b"something else").unwrap();
            assert!(matches!(values.get(&id), Err(Error::Damaged { .. })));
        }
    }
    let numbers: Vec<_> = damaged(&path).into_iter().map(|(number, _)| number).collect();
    assert_eq!(numbers, (36..100).collect::<Vec<_>>());
}

#[test]
fn damaged_record_is_no_longer_found_and_can_be_put_again() {
    let (_directory, path) = file();
    let (key, whole) = record("f", 1);
    put_record(&RedbCalls::open(&path).unwrap(), &(key, whole.clone()));
    flip(&path, &whole.to_bytes(&key).unwrap());
    let calls = RedbCalls::open(&path).unwrap();
    let query = Query::new().function("f");
    assert!(matches!(calls.get(&key), Err(Error::Damaged { .. })));
    assert_eq!(calls.find(&query).unwrap().count(), 0);
    calls.put(&key, &whole).unwrap();
    assert_eq!(calls.find(&query).unwrap().count(), 1);
}

#[test]
fn record_of_later_format_is_a_miss_and_not_replaced() {
    let (_directory, path) = file();
    let (key, now) = record("f", 1);
    put_record(&RedbCalls::open(&path).unwrap(), &(key, now.clone()));
    let mut later = encoding::to_vec(&BTreeMap::from([("format", 2)])).unwrap();
    later.extend_from_slice(&Digest::hash(&[&key.digest().as_bytes()[..], &later].concat()).as_bytes()[..16]);
    {
        let database = redb::Database::open(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(RECORDS).unwrap().insert(key.digest().as_bytes(), &*later).unwrap();
        transaction.commit().unwrap();
    }
    let calls = RedbCalls::open(&path).unwrap();
    for _ in 0..2 {
        assert!(matches!(calls.put(&key, &now), Err(Error::Refused { .. })));
        assert_eq!(calls.get(&key).unwrap(), None);
        assert!(calls.contains(&key).unwrap());
        assert!(!calls.remove(&key, None).unwrap() && !calls.remove(&key, Some(&now)).unwrap());
        for query in [Query::new(), Query::new().function("f")] {
            assert_eq!(calls.find(&query).unwrap().count(), 0);
        }
    }
}

#[test]
fn put_repairs_damaged_value_before_any_read() {
    let (_directory, path) = file();
    let bytes = noise(1, 100_000);
    let id = put(&RedbValues::open(&path).unwrap(), &bytes);
    flip(&path, &bytes[50_000..50_100]);
    put(&RedbValues::open(&path).unwrap(), &bytes);
    assert_eq!(RedbValues::open(&path).unwrap().get(&id).unwrap().as_deref(), Some(&*bytes));
}
