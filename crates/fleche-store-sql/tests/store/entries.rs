//! Tests of records and queries in both databases, of values, and of closing.

use std::{cell::RefCell, collections::BTreeMap, thread};

use fleche_core::{CallKey, CallStore, Digest, Error, Query, Record, ValueStore, call::Timestamp, encoding::Encoded};
use fleche_store_sql::{SqlCalls, SqlValues};

use super::common::{Scratch, count, fields, key, on_both, record};

/// A number of entries that no page holds.
const MANY: u32 = 1100;

fn found(calls: &SqlCalls, query: &Query) -> Vec<(CallKey, Record)> {
    let mut found: Vec<_> = calls.find(query).unwrap().map(Result::unwrap).collect();
    found.sort_by_key(|(key, _)| *key);
    found
}

fn with_tag(nth: u32, tag: &str) -> Record {
    let mut fields = fields(nth);
    fields.metadata.insert("tags", Encoded::encode(&BTreeMap::from([("project", tag)])).unwrap());
    Record::new(fields)
}

fn every_record_of_every_query_is_returned_once(scratch: &Scratch) {
    let calls = scratch.open_calls();
    let mut all: Vec<_> = (0..MANY).map(|nth| (key(nth), with_tag(nth / 2, "alloy"))).collect();
    for (key, record) in &all {
        calls.put(key, record).unwrap();
    }
    all.sort_by_key(|(key, _)| *key);
    assert_eq!(count(&calls), MANY);
    for query in [
        Query::new(),
        Query::new().function("f"),
        Query::new().version(1),
        Query::new().since(Timestamp(0)),
        Query::new().tag("project", "alloy"),
    ] {
        assert!(found(&calls, &query) == all, "{query:?}");
    }
    // Two records have the same time.
    assert_eq!(found(&calls, &Query::new().since(Timestamp(u64::from(MANY) / 2 - 100))).len(), 200);
    assert_eq!(found(&calls, &Query::new().argument("nth", &7_u32).unwrap()).len(), 2);
}

fn query_ends_if_its_caller_puts_a_record_for_each_result(scratch: &Scratch) {
    let calls = scratch.open_calls();
    for nth in 0..150 {
        calls.put(&key(nth), &record(nth)).unwrap();
    }
    for query in [Query::new(), Query::new().function("f"), Query::new().since(Timestamp(0))] {
        for (count, found) in (0..).zip(calls.find(&query).unwrap()) {
            let (found, record) = found.unwrap();
            // The same record with a later time, and a new one.
            let mut later = (*record).clone();
            later.written = Timestamp(record.written.0 + 1_000_000);
            calls.put(&found, &Record::new(later)).unwrap();
            let new = u32::try_from(1_000_000 + record.written.0).unwrap();
            calls.put(&key(new), &super::common::record(new)).unwrap();
            assert!(count < 2000, "{query:?} does not end");
        }
    }
}

fn names_of_any_length_and_content_are_found(scratch: &Scratch) {
    let calls = scratch.open_calls();
    let names = ["zero \0 in it".to_owned(), "a".repeat(512), "a".repeat(513), "a".repeat(100_000)];
    for (nth, name) in (0..).zip(&names) {
        let mut fields = fields(nth);
        fields.function.name = name.clone().into();
        fields.arguments[0].0 = name.clone().into();
        fields.metadata.insert(name.clone(), Encoded::encode(&BTreeMap::from([(name, nth)])).unwrap());
        calls.put(&key(nth), &Record::new(fields)).unwrap();
    }
    for (nth, name) in (0..).zip(&names) {
        let queries = [
            Query::new().function(name.clone()),
            Query::new().argument(name.clone(), &nth).unwrap(),
            Query::new().metadata(name.clone(), name.clone(), &nth).unwrap(),
        ];
        for query in queries {
            let keys: Vec<_> = found(&calls, &query).into_iter().map(|(key, _)| key).collect();
            assert_eq!(keys, [key(nth)], "a name of {} bytes", name.len());
        }
    }
}

fn replaced_or_removed_record_is_not_found_by_its_tags(scratch: &Scratch) {
    let calls = scratch.open_calls();
    calls.put(&key(1), &with_tag(1, "earlier")).unwrap();
    calls.put(&key(1), &with_tag(1, "later")).unwrap();
    assert_eq!(found(&calls, &Query::new().tag("project", "earlier")), []);
    assert_eq!(found(&calls, &Query::new().tag("project", "later")), [(key(1), with_tag(1, "later"))]);
    assert!(calls.remove(&key(1), None).unwrap());
    assert_eq!(found(&calls, &Query::new().tag("project", "later")), []);
}

on_both! {
    query_ends_if_its_caller_puts_a_record_for_each_result
    every_record_of_every_query_is_returned_once
    names_of_any_length_and_content_are_found
    replaced_or_removed_record_is_not_found_by_its_tags
    stores_work_and_close_on_threads_of_a_runtime
}

#[test]
fn replaced_and_removed_records_leave_no_rows() {
    let scratch = Scratch::sqlite();
    let calls = scratch.open_calls();
    for tag in ["a", "b", "c"] {
        calls.put(&key(1), &with_tag(1, tag)).unwrap();
    }
    let rows = "SELECT (SELECT count(*) FROM fleche_arguments) + (SELECT count(*) FROM fleche_metadata)";
    assert_eq!(scratch.number(rows), 2);
    calls.put(&key(2), &record(2)).unwrap();
    assert!(calls.remove(&key(1), None).unwrap());
    assert_eq!(scratch.number(rows), 1);
}

#[test]
fn value_that_fits_no_row_is_refused() {
    let scratch = Scratch::sqlite();
    let values = scratch.open_values();
    let long = vec![0; 999_000_001];
    let error = values.put(&Digest::hash(b"any"), &long).unwrap_err();
    assert!(matches!(error, Error::Refused { .. }) && error.to_string().contains("1 GB"), "{error}");
    values.put(&Digest::hash(b"short"), b"short").unwrap();
    assert_eq!(values.get(&Digest::hash(b"short")).unwrap().as_deref(), Some(&b"short"[..]));
}

#[test]
fn sync_commits_to_disk() {
    let scratch = Scratch::sqlite();
    let (values, calls) = (scratch.open_values(), scratch.open_calls());
    values.sync(&Digest::hash(b"any")).unwrap();
    calls.sync(&key(1)).unwrap();
    // Each sync is a commit that waits for the disk.
    assert_eq!(scratch.number("SELECT value FROM fleche_meta WHERE name = 'syncs'"), 2);
}

#[test]
fn store_dropped_by_the_end_of_a_thread_is_closed() {
    thread_local! {
        static KEPT: RefCell<Option<SqlValues>> = const { RefCell::new(None) };
    }
    let scratch = Scratch::sqlite();
    thread::scope(|scope| {
        let keeps = scope.spawn(|| {
            KEPT.set(Some(scratch.open_values()));
            KEPT.with_borrow(|values| values.as_ref().unwrap().put(&Digest::hash(b"value"), b"value").unwrap());
        });
        keeps.join().unwrap();
    });
    // The last connection that closes removes the log.
    assert!(!scratch.directory.path().join("test.db-wal").exists());
    assert!(scratch.open_values().contains(&Digest::hash(b"value")).unwrap());
}

fn stores_work_and_close_on_threads_of_a_runtime(scratch: &Scratch) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (values, calls) = (scratch.open_values(), scratch.open_calls());
        values.put(&Digest::hash(b"value"), b"value").unwrap();
        calls.put(&key(1), &record(1)).unwrap();
        tokio::task::yield_now().await;
        assert_eq!(values.get(&Digest::hash(b"value")).unwrap().as_deref(), Some(&b"value"[..]));
        drop((values, calls));
    });
    drop(runtime);
    assert_eq!(scratch.open_calls().get(&key(1)).unwrap(), Some(record(1)));
}
