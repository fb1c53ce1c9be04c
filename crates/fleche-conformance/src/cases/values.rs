//! Cases of values: sizes, ages, removal, other forms, and the lifetime of returned bytes.

use std::{
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use fleche_core::{Digest, DigestPrefix, Error, ValueStore};

use crate::{fixture::Fixture, known_limits::scaled, test_data::noise};

const HOUR: Duration = Duration::from_hours(1);

pub(crate) fn absence(fixture: &Fixture) {
    let store = fixture.open_values();
    let id = Digest::hash(b"never stored");
    for round in ["in an empty store", "next to another entry"] {
        assert_eq!(store.get(&id).unwrap(), None, "get, {round}");
        assert!(!store.contains(&id).unwrap(), "contains, {round}");
        assert_eq!(store.age(&id).unwrap(), None, "age, {round}");
        assert!(!store.remove(&id, None).unwrap(), "remove, {round}");
        assert!(!store.remove(&id, Some(Duration::ZERO)).unwrap(), "remove by age, {round}");
        assert_eq!(store.ids(&id.into()).unwrap().count(), 0, "ids, {round}");
        put(&*store, b"another");
    }
}

pub(crate) fn put_refreshes_the_age(fixture: &Fixture) {
    let store = fixture.open_values();
    let id = put(&*store, &noise(1, 1000));
    // Without a refresh, the age can only grow, so a smaller age proves one. The test repeats because the age can also have
    // grown if the machine stalled after the refresh.
    let refreshed = (0..20).any(|_| {
        let before = wait_for_age(&*store, &id, Duration::from_millis(30));
        put(&*store, &noise(1, 1000));
        age(&*store, &id) < before
    });
    assert!(refreshed, "an entry that was put again is as old as before");
}

pub(crate) fn age_grows(fixture: &Fixture) {
    let store = fixture.open_values();
    let begun = Instant::now();
    let id = put(&*store, b"one");
    let first = wait_for_age(&*store, &id, Duration::from_millis(20));
    let other = put(&*store, b"other");
    let second = wait_for_age(&*store, &id, first);
    let _ = age(&*store, &other);
    assert!(second > first, "the age went from {first:?} to {second:?}");
    // A clock of coarse resolution may make an entry look slightly older than it is, but not by an hour.
    assert!(second <= begun.elapsed() + HOUR, "the age of a new entry is {second:?}");
}

pub(crate) fn remove_respects_the_age(fixture: &Fixture) {
    let store = fixture.open_values();
    let id = put(&*store, &noise(1, 1000));
    assert!(!store.remove(&id, Some(HOUR)).unwrap(), "`remove` treats a new entry as older than an hour");
    assert!(store.contains(&id).unwrap(), "a new entry was removed as older than an hour");
    let seen = age(&*store, &id);
    wait_for_age(&*store, &id, seen);
    assert!(store.remove(&id, Some(seen)).unwrap(), "an entry older than {seen:?} was not removed");
    assert!(!store.contains(&id).unwrap(), "`contains` finds a removed entry");

    put(&*store, &noise(1, 1000));
    wait_for_age(&*store, &id, Duration::ZERO);
    assert!(store.remove(&id, Some(Duration::ZERO)).unwrap(), "an entry older than zero was not removed");
    assert_eq!(store.get(&id).unwrap(), None);
}

pub(crate) fn bytes_outlive_the_entry(fixture: &Fixture) {
    let store = fixture.open_values();
    let value = noise(1, 100_000);
    let id = put(&*store, &value);
    let got = store.get(&id).unwrap().expect("a value that was put must be found");
    assert!(store.remove(&id, None).unwrap());
    put(&*store, &noise(2, 100_000));
    assert!(*got == *value, "bytes that `get` returned changed after the removal");
    drop(store);
    assert!(*got == *value, "bytes that `get` returned changed after the store was closed");
}

pub(crate) fn tiny_values(fixture: &Fixture) {
    let store = fixture.open_values();
    let values: Vec<Vec<u8>> = std::iter::once(vec![]).chain((0..=255).map(|byte| vec![byte])).collect();
    for value in &values {
        put(&*store, value);
    }
    for value in &values {
        let id = Digest::hash(value);
        assert!(store.contains(&id).unwrap(), "{value:?} is missing");
        assert_eq!(store.get(&id).unwrap().as_deref(), Some(&**value));
        assert!(store.age(&id).unwrap().is_some(), "{value:?} has no age");
        assert!(store.remove(&id, None).unwrap(), "{value:?} cannot be removed");
        assert_eq!(store.get(&id).unwrap(), None);
    }
}

pub(crate) fn custom_check(fixture: &Fixture) {
    let store = fixture.open_values();
    let (value, form) = (noise(1, 20_000), noise(2, 500));
    let (id, other) = (Digest::hash(&value), put(&*store, &noise(3, 500)));
    let unwrapped =
        |bytes: Bytes| if bytes == form { Ok(value.clone().into()) } else { Err("another form".to_owned()) };
    for _ in 0..2 {
        store.put(&id, &form).unwrap();
        assert_eq!(
            store.read(&id, &unwrapped).unwrap().as_deref(),
            Some(&*value),
            "`read` must return the result of the check"
        );
        let whole = store.get(&id);
        assert!(matches!(&whole, Err(Error::Damaged { .. })), "without the check, the form must be damaged: {whole:?}");
        assert_eq!(store.read(&id, &unwrapped).unwrap(), None, "a damaged entry must be absent afterwards");
    }
    let refused = store.read(&other, &unwrapped);
    assert!(matches!(&refused, Err(Error::Damaged { why, .. }) if why.contains("another form")), "{refused:?}");
    assert_eq!(
        store.read(&other, &unwrapped).unwrap(),
        None,
        "an entry that the check refused must be absent afterwards"
    );
    put(&*store, &noise(3, 500));
    assert_eq!(store.get(&other).unwrap().as_deref(), Some(&*noise(3, 500)));
}

pub(crate) fn remove_all(fixture: &Fixture) {
    let store = fixture.open_values();
    let ids: Vec<_> = (0..50).map(|nth| put(&*store, &noise(nth, 100))).collect();
    assert_eq!(store.remove_all(&[], None).unwrap(), 0);
    assert_eq!(store.remove_all(&ids, Some(HOUR)).unwrap(), 0, "entries younger than an hour were removed as older");
    let gone = [&ids[..20], &[Digest::hash(b"never stored")]].concat();
    assert_eq!(store.remove_all(&gone, None).unwrap(), 20);
    assert_eq!(store.remove_all(&gone, None).unwrap(), 0);
    for (at, id) in ids.iter().enumerate() {
        assert_eq!(store.contains(id).unwrap(), at >= 20, "entry {at}");
    }
    let reached = wait_for_age(&*store, &ids[49], Duration::ZERO);
    assert_eq!(
        store.remove_all(&ids, Some(Duration::ZERO)).unwrap(),
        30,
        "entries with an age of at least {reached:?} were not removed"
    );
    assert_eq!(store.ids(&DigestPrefix::all()).unwrap().count(), 0);
}

pub(crate) fn large_value(fixture: &Fixture) {
    let store = fixture.open_values();
    let value = noise(1, scaled(64_000_000));
    let id = put(&*store, &value);
    assert!(
        store.get(&id).unwrap().expect("a put value must be found") == value,
        "{} bytes come back changed",
        value.len()
    );
    assert!(store.remove(&id, None).unwrap());
    assert!(!store.contains(&id).unwrap());
}

pub(crate) fn sync_changes_nothing(fixture: &Fixture) {
    let store = fixture.open_values();
    let id = put(&*store, &noise(1, 10_000));
    store.sync(&id).unwrap();
    assert_eq!(store.get(&id).unwrap().as_deref(), Some(&*noise(1, 10_000)));
    store.sync(&id).unwrap();
}

/// Puts this value and returns its id.
pub(super) fn put(store: &dyn ValueStore, value: &[u8]) -> Digest {
    let id = Digest::hash(value);
    store.put(&id, value).unwrap();
    id
}

/// Waits until the age of a present entry exceeds a limit, and returns the age.
pub(super) fn wait_for_age(store: &dyn ValueStore, id: &Digest, exceeded: Duration) -> Duration {
    loop {
        let age = age(store, id);
        if age > exceeded {
            return age;
        }
        thread::yield_now();
    }
}

fn age(store: &dyn ValueStore, id: &Digest) -> Duration {
    store.age(id).unwrap().expect("a present entry must have an age")
}
