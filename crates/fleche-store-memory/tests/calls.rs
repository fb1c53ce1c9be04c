//! Tests of guarantees of the memory call store beyond the conformance suite.

use std::thread;

use fleche_core::{
    CallKey, CallStore, Digest, DigestPrefix, FunctionId, Query, Record, ValueRef,
    call::{RecordFields, Timestamp, Writer},
};
use fleche_store_memory::MemoryCalls;

fn key(number: u32) -> CallKey {
    Digest::of(&number.to_le_bytes()).into()
}

fn record(result: &[u8]) -> Record {
    Record::new(RecordFields {
        function: FunctionId { name: "f".into(), version: 1, code: Digest::of(b"code"), hash_code: false },
        arguments: Vec::new(),
        result: ValueRef::of(result),
        metadata: fleche_core::metadata::Metadata::default(),
        written: Timestamp(1),
        writer: Writer { host: "host".into(), process: 1, program: "program".into() },
        other: std::collections::BTreeMap::new(),
    })
}

#[test]
fn last_put_record_is_returned() {
    let calls = MemoryCalls::new();
    assert_eq!(calls.get(&key(1)).unwrap(), None);
    for result in [b"a", b"b"] {
        calls.put(&key(1), &record(result)).unwrap();
        assert_eq!(calls.get(&key(1)).unwrap(), Some(record(result)));
    }
}

#[test]
fn record_other_than_the_given_one_is_not_removed() {
    let calls = MemoryCalls::new();
    calls.put(&key(1), &record(b"a")).unwrap();
    assert!(!calls.remove(&key(1), Some(&record(b"b"))).unwrap());
    assert!(calls.remove(&key(1), Some(&record(b"a"))).unwrap());
    assert!(!calls.remove(&key(1), None).unwrap());
}

#[test]
fn only_one_of_several_threads_removes_a_record() {
    let calls = MemoryCalls::new();
    for round in 0..200 {
        calls.put(&key(round), &record(b"a")).unwrap();
        let removed: usize = thread::scope(|scope| {
            let threads = [(); 4].map(|()| scope.spawn(|| calls.remove(&key(round), Some(&record(b"a"))).unwrap()));
            threads.map(|thread| usize::from(thread.join().unwrap())).iter().sum()
        });
        assert_eq!(removed, 1);
    }
}

#[test]
fn records_can_be_removed_while_searching() {
    let calls = MemoryCalls::new();
    for number in 0..500 {
        calls.put(&key(number), &record(b"a")).unwrap();
    }
    for found in calls.find(&Query::new().function("f")).unwrap() {
        let (key, record) = found.unwrap();
        assert!(calls.remove(&key, Some(&record)).unwrap());
    }
    assert_eq!(calls.keys(&DigestPrefix::all()).unwrap().count(), 0);
}

#[test]
fn configuration_of_a_store_reopens_it() {
    let calls = MemoryCalls::new();
    calls.put(&key(1), &record(b"a")).unwrap();
    assert!(calls.config().open().unwrap().contains(&key(1)).unwrap());
}
