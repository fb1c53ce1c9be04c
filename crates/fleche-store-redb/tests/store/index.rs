//! Tests of `find` by function, which reads the index, after records were put and removed.

use std::collections::BTreeSet;

use super::common::{file, flip, put_record, record, written};
use fleche_core::{CallStore, Error, Query, Record};
use fleche_store_redb::RedbCalls;

fn found(calls: &RedbCalls, query: &Query) -> Vec<Record> {
    calls.find(query).unwrap().map(|found| found.unwrap().1).collect()
}

#[test]
fn repeated_record_is_found_once_and_removed_record_is_not_found() {
    let (_directory, path) = file();
    let calls = RedbCalls::open(&path).unwrap();
    let query = Query::new().function("f");
    for at in 1..4 {
        put_record(&calls, &written("f", 1, at));
        assert_eq!(found(&calls, &query), [written("f", 1, at).1]);
    }
    let (key, last) = written("f", 1, 3);
    assert!(!calls.remove(&key, Some(&written("f", 1, 2).1)).unwrap());
    assert_eq!(found(&calls, &query).len(), 1);
    assert!(calls.remove(&key, Some(&last)).unwrap());
    assert_eq!(found(&calls, &query), []);
    put_record(&calls, &written("f", 1, 4));
    assert_eq!(found(&calls, &query), [written("f", 1, 4).1]);
}

#[test]
fn replacing_record_is_found_by_its_own_function_and_arguments() {
    let (_directory, path) = file();
    let calls = RedbCalls::open(&path).unwrap();
    let (key, first) = record("f", 1);
    let (_, second) = record("g", 2);
    let find = |function: &'static str, number: u64| {
        found(&calls, &Query::new().function(function).argument("number", &number).unwrap())
    };
    for record in [&first, &second, &first, &second] {
        calls.put(&key, record).unwrap();
        // Searching commits the record, so that the next one replaces it in redb.
        let count = calls.find(&Query::new()).unwrap().count();
        assert_eq!(count, 1);
    }
    assert_eq!((find("f", 1), find("g", 1), find("f", 2)), (vec![], vec![], vec![]));
    assert_eq!(find("g", 2), [second]);
}

#[test]
fn records_removed_while_listing_are_not_listed() {
    let (_directory, path) = file();
    let calls = RedbCalls::open(&path).unwrap();
    (0..600).for_each(|number| put_record(&calls, &record("f", number)));
    let mut keys = calls.keys(&fleche_core::DigestPrefix::all()).unwrap();
    let first = keys.next().unwrap().unwrap();
    for number in 0..600 {
        let (key, _) = record("f", number);
        if key != first {
            calls.remove(&key, None).unwrap();
        }
    }
    // One page was read before the removals.
    assert!(keys.count() < 256);
}

#[test]
fn several_pages_of_records_are_found_by_function_after_reopening() {
    let (_directory, path) = file();
    let calls = RedbCalls::open(&path).unwrap();
    for number in 0..700 {
        put_record(&calls, &record("f", number));
        put_record(&calls, &record("g", number));
    }
    drop(calls);
    let calls = RedbCalls::open(&path).unwrap();
    put_record(&calls, &record("f", 700));
    for (function, many) in [("f", 701), ("g", 700), ("h", 0), ("", 0)] {
        let all = found(&calls, &Query::new().function(function));
        assert_eq!(all.len(), many, "{function}");
        let numbers: BTreeSet<_> = all.iter().map(|record| format!("{:?}", record.arguments)).collect();
        assert_eq!(numbers.len(), many, "records of {function} must be found once each");
    }
}

#[test]
fn search_ends_although_records_are_put_during_it() {
    let (_directory, path) = file();
    let calls = RedbCalls::open(&path).unwrap();
    (0..10).for_each(|number| put_record(&calls, &record("f", number)));
    let query = Query::new().function("f");
    let mut seen = 0;
    for item in calls.find(&query).unwrap() {
        let (key, record) = item.unwrap();
        assert!(calls.remove(&key, Some(&record)).unwrap());
        calls.put(&key, &record).unwrap();
        seen += 1;
    }
    assert_eq!(seen, 10);
}

/// Damaged records show which records a query reads.
#[test]
fn query_reads_no_records_of_other_functions_or_arguments() {
    let (_directory, path) = file();
    let calls = RedbCalls::open(&path).unwrap();
    (0..5).for_each(|number| put_record(&calls, &record("f", number)));
    let (other, argument) = (record("g", 1), record("f", 4));
    put_record(&calls, &other);
    drop(calls);
    for (key, record) in [&other, &argument] {
        flip(&path, &record.to_bytes(key).unwrap()[20..]);
    }
    let calls = RedbCalls::open(&path).unwrap();
    for number in 0..4 {
        let query = Query::new().function("f").argument("number", &number).unwrap();
        assert_eq!(found(&calls, &query), [record("f", number).1]);
    }
    let query = Query::new().function("f");
    let errors: Vec<_> = calls.find(&query).unwrap().filter_map(Result::err).collect();
    assert!(matches!(&errors[..], [Error::Damaged { .. }]), "{errors:?}");
    assert!(matches!(calls.get(&other.0), Err(Error::Damaged { .. })), "the record must not have been read before");
}

#[test]
fn call_with_many_arguments_is_found_by_each_of_them() {
    let (_directory, path) = file();
    let calls = RedbCalls::open(&path).unwrap();
    let (_, few) = record("f", 1);
    let mut fields = (*few).clone();
    fields.arguments = (0..40).flat_map(|number| record("f", number).1.arguments.clone()).collect();
    let many = Record::new(fields);
    calls.put(&fleche_core::CallKey::new(&many.function, &many.arguments).unwrap(), &many).unwrap();
    for number in [0u64, 15, 16, 39] {
        let query = Query::new().function("f").argument("number", &number).unwrap();
        assert_eq!(found(&calls, &query), std::slice::from_ref(&many), "{number}");
    }
    assert_eq!(found(&calls, &Query::new().function("f").argument("number", &40u64).unwrap()), []);
}
