//! Values: sizes, ages, and what lives on of what was got.

use std::{
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use fleche_core::{Digest, DigestPrefix, Error, ValueStore};

use crate::{fixture::Fixture, item::noise, scale::scaled};

const HOUR: Duration = Duration::from_hours(1);

pub(crate) fn absence(fixture: &Fixture) {
    let store = fixture.open_values();
    let id = Digest::of(b"nobody has put this");
    for round in ["in an empty store", "beside another entry"] {
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
    // An age that was not started anew only grows, so one that shrinks proves it. The other way round a machine that
    // stands still between the two looks would be blamed on the store, hence the repetition.
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
    assert!(second > first, "{second:?} comes after {first:?}");
    // A clock that ticks coarsely may make an entry look a little older than it is, but not by minutes.
    assert!(second <= begun.elapsed() + HOUR, "an entry of now is {second:?} old");
}

pub(crate) fn remove_respects_the_age(fixture: &Fixture) {
    let store = fixture.open_values();
    let id = put(&*store, &noise(1, 1000));
    assert!(!store.remove(&id, Some(HOUR)).unwrap(), "an entry of now is said to be removed as older than an hour");
    assert!(store.contains(&id).unwrap(), "an entry of now was removed as older than an hour");
    let seen = age(&*store, &id);
    wait_for_age(&*store, &id, seen);
    assert!(store.remove(&id, Some(seen)).unwrap(), "an entry older than {seen:?} was kept");
    assert!(!store.contains(&id).unwrap(), "what was said to be removed is there");

    put(&*store, &noise(1, 1000));
    wait_for_age(&*store, &id, Duration::ZERO);
    assert!(store.remove(&id, Some(Duration::ZERO)).unwrap(), "every age exceeds zero");
    assert_eq!(store.get(&id).unwrap(), None);
}

pub(crate) fn bytes_outlive_the_entry(fixture: &Fixture) {
    let store = fixture.open_values();
    let value = noise(1, 100_000);
    let id = put(&*store, &value);
    let got = store.get(&id).unwrap().expect("it was put");
    assert!(store.remove(&id, None).unwrap());
    put(&*store, &noise(2, 100_000));
    assert!(*got == *value, "bytes that were got before have changed");
    drop(store);
    assert!(*got == *value, "bytes that were got before have changed when the store was closed");
}

pub(crate) fn tiny_values(fixture: &Fixture) {
    let store = fixture.open_values();
    let values: Vec<Vec<u8>> = std::iter::once(vec![]).chain((0..=255).map(|byte| vec![byte])).collect();
    for value in &values {
        put(&*store, value);
    }
    for value in &values {
        let id = Digest::of(value);
        assert!(store.contains(&id).unwrap(), "{value:?} is not there");
        assert_eq!(store.get(&id).unwrap().as_deref(), Some(&**value));
        assert!(store.age(&id).unwrap().is_some(), "{value:?} has no age");
        assert!(store.remove(&id, None).unwrap(), "{value:?} cannot be removed");
        assert_eq!(store.get(&id).unwrap(), None);
    }
}

pub(crate) fn other_form(fixture: &Fixture) {
    let store = fixture.open_values();
    let (value, form) = (noise(1, 20_000), noise(2, 500));
    let (id, other) = (Digest::of(&value), put(&*store, &noise(3, 500)));
    let unwrapped =
        |bytes: Bytes| if bytes == form { Ok(value.clone().into()) } else { Err("another form".to_owned()) };
    for _ in 0..2 {
        store.put(&id, &form).unwrap();
        assert_eq!(store.read(&id, &unwrapped).unwrap().as_deref(), Some(&*value), "what the check made of it");
        let whole = store.get(&id);
        assert!(matches!(&whole, Err(Error::Damaged { .. })), "without a check the form is no value: {whole:?}");
        assert_eq!(store.read(&id, &unwrapped).unwrap(), None, "what was damaged is absent");
    }
    let refused = store.read(&other, &unwrapped);
    assert!(matches!(&refused, Err(Error::Damaged { why, .. }) if why.contains("another form")), "{refused:?}");
    assert_eq!(store.read(&other, &unwrapped).unwrap(), None, "what the check refused is absent");
    put(&*store, &noise(3, 500));
    assert_eq!(store.get(&other).unwrap().as_deref(), Some(&*noise(3, 500)));
}

pub(crate) fn remove_all(fixture: &Fixture) {
    let store = fixture.open_values();
    let ids: Vec<_> = (0..50).map(|nth| put(&*store, &noise(nth, 100))).collect();
    assert_eq!(store.remove_all(&[], None).unwrap(), 0);
    assert_eq!(store.remove_all(&ids, Some(HOUR)).unwrap(), 0, "all of them are younger than an hour");
    let gone = [&ids[..20], &[Digest::of(b"nobody has put this")]].concat();
    assert_eq!(store.remove_all(&gone, None).unwrap(), 20);
    assert_eq!(store.remove_all(&gone, None).unwrap(), 0);
    for (at, id) in ids.iter().enumerate() {
        assert_eq!(store.contains(id).unwrap(), at >= 20, "entry {at}");
    }
    let reached = wait_for_age(&*store, &ids[49], Duration::ZERO);
    assert_eq!(store.remove_all(&ids, Some(Duration::ZERO)).unwrap(), 30, "their age is {reached:?} at least");
    assert_eq!(store.ids(&DigestPrefix::all()).unwrap().count(), 0);
}

pub(crate) fn large_value(fixture: &Fixture) {
    let store = fixture.open_values();
    let value = noise(1, scaled(64_000_000));
    let id = put(&*store, &value);
    assert!(store.get(&id).unwrap().expect("it was put") == value, "{} bytes come back changed", value.len());
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

/// Puts this value, whatever its bytes; its id.
pub(super) fn put(store: &dyn ValueStore, value: &[u8]) -> Digest {
    let id = Digest::of(value);
    store.put(&id, value).unwrap();
    id
}

/// The age of what is there, once it exceeds this.
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
    store.age(id).unwrap().expect("what is there has an age")
}
