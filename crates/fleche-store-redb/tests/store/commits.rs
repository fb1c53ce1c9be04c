//! Tests of commits: which operations share one, and what they contain.

use std::thread;

use super::common::{file, noise, put, put_record, record};
use fleche_core::{CallStore, ValueStore};
use fleche_store_redb::{Durability, RedbCalls, RedbCallsConfig, RedbValues, RedbValuesConfig};

#[test]
fn entries_of_several_threads_are_committed_together() {
    let (_directory, path) = file();
    let lazy = RedbCalls::open_with(&RedbCallsConfig::new(&path).durability(Durability::None)).unwrap();
    thread::scope(|scope| {
        for thread in 0..8 {
            let lazy = &lazy;
            scope.spawn(move || (0..10).for_each(|number| put_record(lazy, &record("f", 10 * thread + number))));
        }
    });
    assert_eq!((lazy.stats().commits, lazy.stats().operations), (0, 0));
    RedbCalls::open(&path).unwrap().sync(&record("f", 0).0).unwrap();
    let stats = lazy.stats();
    assert_eq!((stats.commits, stats.durable, stats.operations), (1, 1, 80));
    assert!((0..80).all(|number| lazy.get(&record("f", number).0).unwrap().is_some()));
}

#[test]
fn large_value_is_committed_after_earlier_entries() {
    let (_directory, path) = file();
    let values = RedbValues::open_with(&RedbValuesConfig::new(&path).durability(Durability::None)).unwrap();
    let large = noise(1, 100_000);
    let small = put(&values, b"small");
    let id = put(&values, &large);
    assert_eq!((values.stats().commits, values.stats().operations), (1, 2));
    assert_eq!(values.get(&id).unwrap().as_deref(), Some(&*large));
    assert!(values.remove(&id, None).unwrap() && !values.contains(&id).unwrap());
    assert!(values.contains(&small).unwrap());
    put(&values, &large);
    assert!(values.contains(&id).unwrap(), "the value put after its removal must exist");
}

#[test]
fn pending_changes_are_visible_to_all_reads() {
    let (_directory, path) = file();
    let values = RedbValues::open_with(&RedbValuesConfig::new(&path).durability(Durability::None)).unwrap();
    let id = put(&values, b"a value");
    assert!(values.contains(&id).unwrap() && values.age(&id).unwrap().is_some());
    assert_eq!(values.get(&id).unwrap().as_deref(), Some(&b"a value"[..]));
    assert!(!values.remove(&id, Some(std::time::Duration::from_hours(1))).unwrap());
    assert!(values.remove(&id, None).unwrap() && !values.remove(&id, None).unwrap());
    assert!(!values.contains(&id).unwrap() && values.age(&id).unwrap().is_none() && values.get(&id).unwrap().is_none());
    assert_eq!(values.stats().commits, 0, "no change must have reached redb");
}
