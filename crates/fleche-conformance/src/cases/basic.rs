//! Cases of put, get and remove, of configurations, and of opening a store again, for both values and records.

use std::fs;

use fleche_core::{
    Error, encoding,
    store::{Reach, backends},
};

use crate::{fixture::Fixture, peer_process::PeerOutcome, store_kind::StoreKind, test_data::Item};

pub(crate) fn put_then_get<S: StoreKind>(fixture: &Fixture) {
    let store = S::open(fixture);
    let items: Vec<_> = (0..20).map(Item::small).chain((20..24).map(Item::large)).collect();
    for (put, &item) in items.iter().enumerate() {
        store.assert_lacks(item);
        store.put(item);
        store.assert_holds(&items[..=put]);
    }
}

pub(crate) fn put_is_idempotent<S: StoreKind>(fixture: &Fixture) {
    let store = S::open(fixture);
    for item in [Item::small(1), Item::large(2), Item::small(1), Item::large(2), Item::small(1)] {
        store.put(item);
    }
    store.assert_holds(&[Item::small(1), Item::large(2)]);
}

pub(crate) fn remove_then_put_again<S: StoreKind>(fixture: &Fixture) {
    let store = S::open(fixture);
    let (item, other) = (Item::large(1), Item::small(2));
    store.put(other);
    for _ in 0..3 {
        assert!(!store.remove(item), "`remove` of an absent entry returned true");
        store.put(item);
        store.assert_holds(&[item, other]);
        assert!(store.remove(item), "`remove` of a present entry returned false");
        store.assert_lacks(item);
        store.assert_holds(&[other]);
    }
}

pub(crate) fn same_location_is_same_store<S: StoreKind>(fixture: &Fixture) {
    let first = S::open(fixture);
    first.put(Item::small(1));
    let second = S::try_open(&first.config()).unwrap_or_else(|error| panic!("`config()` does not open: {error:?}"));
    let third = S::open(fixture);
    second.put(Item::small(2));
    third.put(Item::large(3));
    for store in [&first, &second, &third] {
        store.assert_holds(&[Item::small(1), Item::small(2), Item::large(3)]);
    }
    assert!(second.remove(Item::small(1)));
    first.assert_lacks(Item::small(1));

    // Entries stay as long as one handle is open, even if the store is not durable.
    drop((first, second));
    let fourth = S::open(fixture);
    fourth.assert_holds(&[Item::small(2), Item::large(3)]);
    third.assert_holds(&[Item::small(2), Item::large(3)]);
}

pub(crate) fn reopened_store_keeps_everything<S: StoreKind>(fixture: &Fixture) {
    let items: Vec<_> = (0..200).map(Item::small).chain((200..220).map(Item::large)).collect();
    let store = S::open(fixture);
    store.put_all(&items);
    assert!(store.remove(items[0]));
    let config = store.config();
    drop(store);

    if !fixture.backend.durable {
        let anew = S::try_open(&config).unwrap();
        anew.assert_holds(&[]);
        anew.put(items[1]);
        anew.assert_holds(&items[1..2]);
        assert!(fixture.disk().is_empty(), "the store is not durable, but leaves files on disk");
        return;
    }
    // The configuration is read from text, as in another process.
    let config = serde_json::from_str(&serde_json::to_string(&config).unwrap()).unwrap();
    for _ in 0..3 {
        let anew = S::try_open(&config).unwrap();
        anew.assert_holds(&items[1..]);
        anew.assert_lacks(items[0]);
    }
}

pub(crate) fn reach<S: StoreKind>(fixture: &Fixture) {
    let (ours, theirs, later) = (Item::small(1), Item::small(2), Item::small(3));
    let store = S::open(fixture);
    store.put(ours);
    let visit = |look_for, put| fixture.program.visit(S::for_peer(&S::config_of(fixture)), look_for, put);
    let while_open = visit(ours, theirs);
    match fixture.backend.reach {
        Reach::Process => {
            assert_eq!(
                while_open,
                PeerOutcome::Opened { found: false },
                "another process must have a store of its own"
            );
            store.assert_holds(&[ours]);
        }
        Reach::Exclusive => {
            assert!(
                matches!(while_open, PeerOutcome::Refused(_)),
                "another process opens the store while it is open here: {while_open:?}"
            );
            drop(store);
            assert_eq!(
                visit(ours, theirs),
                PeerOutcome::Opened { found: true },
                "another process, after the store was closed here"
            );
            S::open(fixture).assert_holds(&[ours, theirs]);
        }
        Reach::Shared => {
            assert_eq!(
                while_open,
                PeerOutcome::Opened { found: true },
                "another process, while the store is open here"
            );
            store.assert_holds(&[ours, theirs]);
            assert!(store.remove(theirs), "an entry of another process cannot be removed");
            assert_eq!(
                visit(theirs, later),
                PeerOutcome::Opened { found: false },
                "another process, after a removal here"
            );
            store.assert_holds(&[ours, later]);
        }
    }
}

pub(crate) fn files_removed_while_open<S: StoreKind>(fixture: &Fixture) {
    let (before, after) = (Item::small(1), Item::small(2));
    let store = S::open(fixture);
    store.put(before);
    if fixture.disk().is_empty() {
        // The entries are elsewhere, so there are no files to remove.
        return;
    }
    for entry in fs::read_dir(fixture.directory()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }
    let put = match store.try_put(after) {
        // The store reports the removal once and reopens itself.
        Err(Error::Reopened { .. }) => store.try_put(after),
        put => put,
    };
    drop(store);
    if put.is_ok() {
        S::open(fixture).assert_has(after);
    }
}

pub(crate) fn config_round_trips<S: StoreKind>(fixture: &Fixture) {
    let store = S::open(fixture);
    store.put(Item::small(1));
    for config in [S::config_of(fixture), store.config()] {
        assert!(S::same(&config, &config.clone()), "{config:?} is not equal to its clone");
        assert_eq!(S::reach(&config), fixture.backend.reach, "the reach of {config:?}");
        let json = serde_json::to_value(&config).unwrap_or_else(|error| panic!("cannot write JSON: {error}"));
        assert!(is_known(json["type"].as_str(), fixture.backend.name), "unknown `type` in {json}");

        let text = json.to_string();
        let from_json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("cannot read JSON {text}: {error}"));
        let text = toml::to_string(&config).unwrap_or_else(|error| panic!("cannot write TOML: {error}"));
        let from_toml = toml::from_str(&text).unwrap_or_else(|error| panic!("cannot read TOML {text}: {error}"));
        let bytes = encoding::to_vec(&config).unwrap_or_else(|error| panic!("cannot encode: {error}"));
        let from_bytes = encoding::from_slice(&bytes)
            .unwrap_or_else(|error| panic!("cannot decode {}: {error}", encoding::diagnostic(&bytes)));
        for (form, back) in [("JSON", from_json), ("TOML", from_toml), ("the encoding", from_bytes)] {
            assert!(S::same(&config, &back), "{config:?} becomes {back:?} after a round trip through {form}");
            assert_eq!(S::reach(&back), fixture.backend.reach);
            S::try_open(&back)
                .unwrap_or_else(|error| panic!("{config:?} does not open after a round trip through {form}: {error:?}"))
                .assert_holds(&[Item::small(1)]);
        }
    }
}

/// Returns whether a store of a backend with this name may have this type.
///
/// The type is the backend's name or its part before a `-`, or that of another linked backend that provides the store.
fn is_known(found: Option<&str>, name: &str) -> bool {
    let linked = backends().into_iter().map(|backend| backend.name);
    linked.chain([name]).any(|name| found == Some(name) || found == name.split('-').next())
}

pub(crate) fn unknown_backend<S: StoreKind>(fixture: &Fixture) {
    let mut json = serde_json::to_value(S::config_of(fixture)).unwrap();
    let name = std::mem::replace(&mut json["type"], "no-such-backend".into());
    let name = name.as_str().expect("the type must be a string");
    let error = serde_json::from_value::<S::Config>(json).expect_err("an unknown type must be refused").to_string();
    assert!(error.contains("no-such-backend"), "the error does not name the unknown type: {error}");
    assert!(error.contains(name), "the error does not list `{name}`, which is linked: {error}");
    let error = serde_json::from_str::<S::Config>("{}").expect_err("a missing type must be refused").to_string();
    assert!(error.contains("type"), "the error does not say that `type` is missing: {error}");
}
