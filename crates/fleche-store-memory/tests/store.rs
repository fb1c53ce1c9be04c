//! Tests of guarantees of the memory stores beyond the conformance suite, and of their configurations.

use std::{
    thread,
    time::{Duration, Instant},
};

use fleche_core::{
    CallKey, CallStore, Digest, DigestPrefix, Error, FunctionId, Query, Record, ValueRef, ValueStore,
    call::{RecordFields, Timestamp, Writer},
    store::{Reach, ValueStoreConfig, backends},
};
use fleche_store_memory::{MemoryCalls, MemoryValues, MemoryValuesConfig};

const BYTES: &[u8] = b"a secret value";

fn with_one_value() -> (MemoryValues, Digest) {
    let (values, id) = (MemoryValues::new(), Digest::hash(BYTES));
    values.put(&id, BYTES).unwrap();
    (values, id)
}

#[test]
fn value_is_returned_without_copying() {
    let (values, id) = with_one_value();
    let [first, second] = [(); 2].map(|()| values.get(&id).unwrap().unwrap());
    assert_eq!(first, BYTES);
    assert_eq!(first.as_ptr(), second.as_ptr());
}

#[test]
fn bytes_under_a_wrong_digest_are_reported_and_only_they_are_removed() {
    let (values, id) = with_one_value();
    let other = Digest::hash(b"other");
    for wrong in [other, id] {
        values.put(&wrong, b"neither").unwrap();
        let error = values.get(&wrong).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }) && error.to_string().contains(&wrong.to_string()), "{error}");
        assert!(!values.contains(&wrong).unwrap());
    }
    values.put(&id, BYTES).unwrap();
    let replaced = values.read(&id, &|bytes| {
        values.put(&other, b"other").and_then(|()| values.put(&id, b"new")).unwrap();
        Err(format!("{bytes:?} are rejected"))
    });
    assert!(matches!(replaced, Err(Error::Damaged { .. })));
    assert!(values.contains(&other).unwrap());
    assert!(values.contains(&id).unwrap(), "the value put during the read must stay");
}

#[test]
fn repeated_put_resets_the_age() {
    let (values, id) = with_one_value();
    while values.age(&id).unwrap().unwrap() < Duration::from_millis(20) {
        thread::yield_now();
    }
    let before = Instant::now();
    values.put(&id, BYTES).unwrap();
    let age = values.age(&id).unwrap().unwrap();
    assert!(age <= before.elapsed());
}

#[test]
fn only_values_older_than_the_limit_are_removed() {
    let (values, id) = with_one_value();
    assert!(!values.remove(&id, Some(Duration::from_hours(1))).unwrap());
    assert!(values.remove(&id, Some(Duration::ZERO)).unwrap());
    assert!(!values.remove(&id, None).unwrap());
    assert_eq!(values.age(&id).unwrap(), None);
}

#[test]
fn values_can_be_put_and_removed_while_listing() {
    let values = MemoryValues::new();
    for number in 0..2000_u32 {
        let bytes = number.to_le_bytes();
        values.put(&Digest::hash(&bytes), &bytes).unwrap();
    }
    let removed = values.ids(&DigestPrefix::all()).unwrap().filter(|id| {
        let id = id.as_ref().unwrap();
        values.put(&Digest::hash(BYTES), BYTES).unwrap();
        *id != Digest::hash(BYTES) && values.remove(id, None).unwrap()
    });
    assert_eq!(removed.count(), 2000);
}

#[test]
fn prefix_of_any_length_lists_matching_ids() {
    let values = MemoryValues::new();
    for number in 0..200_u32 {
        values.put(&Digest::hash(&number.to_le_bytes()), &number.to_le_bytes()).unwrap();
    }
    let digest = Digest::hash(&7_u32.to_le_bytes());
    for digits in [0, 1, 2, 3, 64] {
        let prefix: DigestPrefix = digest.to_string()[..digits].parse().unwrap();
        let mut listed: Vec<Digest> = values.ids(&prefix).unwrap().map(Result::unwrap).collect();
        let mut expected: Vec<Digest> = (0..200_u32).map(|number| Digest::hash(&number.to_le_bytes())).collect();
        expected.retain(|id| prefix.matches(id));
        listed.sort_unstable();
        expected.sort_unstable();
        assert!(listed == expected, "{digits} digits");
    }
}

#[test]
fn several_threads_can_put_and_remove_one_value() {
    let (values, id) = with_one_value();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    values.put(&id, BYTES).unwrap();
                    assert!(values.get(&id).unwrap().is_none_or(|bytes| bytes == BYTES));
                    values.remove(&id, None).unwrap();
                }
            });
        }
    });
    assert!(!values.contains(&id).unwrap());
}

#[test]
fn debug_output_shows_no_content() {
    let (values, _) = with_one_value();
    let text = format!("{values:?}");
    assert!(text.starts_with("MemoryValues") && !text.contains("secret"), "{text}");
}

#[test]
fn configuration_of_a_store_reopens_it() {
    let (values, id) = with_one_value();
    let text = serde_json::to_string(&values.config()).unwrap();
    let config: Box<dyn ValueStoreConfig> = serde_json::from_str(&text).unwrap();
    assert_eq!(*config, *values.config());
    assert!(config.open().unwrap().contains(&id).unwrap());
}

#[test]
fn store_is_dropped_with_its_last_handle() {
    let (values, id) = with_one_value();
    let (config, clone) = (values.config(), values.clone());
    drop(values);
    assert!(config.open().unwrap().contains(&id).unwrap());
    drop(clone);
    assert!(!config.open().unwrap().contains(&id).unwrap());
}

#[test]
fn each_opening_without_an_id_creates_a_store() {
    let config: Box<dyn ValueStoreConfig> = toml::from_str("type = 'memory'").unwrap();
    let (first, second) = (config.open().unwrap(), config.open().unwrap());
    first.put(&Digest::hash(b"x"), b"x").unwrap();
    assert!(!second.contains(&Digest::hash(b"x")).unwrap());
    assert_ne!(*first.config(), *second.config());
}

#[test]
fn configuration_names_backend_and_store() {
    let config: Box<dyn ValueStoreConfig> = Box::new(MemoryValuesConfig::with_id("mine"));
    assert_eq!(serde_json::to_string(&config).unwrap(), r#"{"type":"memory","id":"mine"}"#);
    assert_eq!(config.reach(), Reach::Process);
}

#[test]
fn misspelled_setting_is_named_in_the_error() {
    let read: Result<Box<dyn ValueStoreConfig>, _> = serde_json::from_str(r#"{"type":"memory","idd":"mine"}"#);
    let error = read.unwrap_err().to_string();
    assert!(error.contains("idd"), "{error}");
}

#[test]
fn backend_is_registered() {
    let memory = backends().into_iter().find(|backend| backend.name == "memory").unwrap();
    assert!(!memory.durable);
    let (values, calls) = (memory.scratch)(std::path::Path::new("unused"));
    values.open().unwrap();
    calls.open().unwrap();
}

fn key(number: u32) -> CallKey {
    Digest::hash(&number.to_le_bytes()).into()
}

fn record(result: &[u8]) -> Record {
    Record::new(RecordFields {
        function: FunctionId { name: "f".into(), version: 1, code: Digest::hash(b"code"), hash_code: false },
        arguments: Vec::new(),
        result: ValueRef::new(result),
        metadata: fleche_core::metadata::Metadata::default(),
        written: Timestamp(1),
        writer: Writer { host: "host".into(), process: 1, program: "program".into() },
        other: std::collections::BTreeMap::new(),
    })
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
fn configuration_of_a_call_store_reopens_it() {
    let calls = MemoryCalls::new();
    calls.put(&key(1), &record(b"a")).unwrap();
    assert!(calls.config().open().unwrap().contains(&key(1)).unwrap());
}
