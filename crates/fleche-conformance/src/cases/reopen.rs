//! Cases of opening a store again: while it is open, after it was closed, and from another process.

use std::fs;

use fleche_core::{Error, store::Reach};

use crate::{fixture::Fixture, item::Item, peer::Outcome, shelf::StoreKind};

pub(crate) fn one_place_is_one_store<S: StoreKind>(fixture: &Fixture) {
    let first = S::open(fixture);
    first.put(Item::small(1));
    let second = S::try_open(&first.config()).unwrap_or_else(|error| panic!("`config()` does not open: {error}"));
    let third = S::open(fixture);
    second.put(Item::small(2));
    third.put(Item::large(3));
    for shelf in [&first, &second, &third] {
        shelf.assert_holds(&[Item::small(1), Item::small(2), Item::large(3)]);
    }
    assert!(second.remove(Item::small(1)));
    first.assert_lacks(Item::small(1));

    // Entries stay as long as one handle is open, even if the store is not durable.
    drop((first, second));
    let fourth = S::open(fixture);
    fourth.assert_holds(&[Item::small(2), Item::large(3)]);
    third.assert_holds(&[Item::small(2), Item::large(3)]);
}

pub(crate) fn reopened_store_has_everything<S: StoreKind>(fixture: &Fixture) {
    let items: Vec<_> = (0..200).map(Item::small).chain((200..220).map(Item::large)).collect();
    let shelf = S::open(fixture);
    shelf.put_all(&items);
    assert!(shelf.remove(items[0]));
    let config = shelf.config();
    drop(shelf);

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
    let shelf = S::open(fixture);
    shelf.put(ours);
    let visit = |look_for, put| fixture.program.visit(S::for_peer(&S::config_of(fixture)), look_for, put);
    let while_open = visit(ours, theirs);
    match fixture.backend.reach {
        Reach::Process => {
            assert_eq!(while_open, Outcome::Opened { found: false }, "another process must have a store of its own");
            shelf.assert_holds(&[ours]);
        }
        Reach::Exclusive => {
            assert!(
                matches!(while_open, Outcome::Refused(_)),
                "another process opens the store while it is open here: {while_open:?}"
            );
            drop(shelf);
            assert_eq!(
                visit(ours, theirs),
                Outcome::Opened { found: true },
                "another process, after the store was closed here"
            );
            S::open(fixture).assert_holds(&[ours, theirs]);
        }
        Reach::Shared => {
            assert_eq!(while_open, Outcome::Opened { found: true }, "another process, while the store is open here");
            shelf.assert_holds(&[ours, theirs]);
            assert!(shelf.remove(theirs), "an entry of another process cannot be removed");
            assert_eq!(visit(theirs, later), Outcome::Opened { found: false }, "another process, after a removal here");
            shelf.assert_holds(&[ours, later]);
        }
    }
}

pub(crate) fn files_removed_while_open<S: StoreKind>(fixture: &Fixture) {
    let (before, after) = (Item::small(1), Item::small(2));
    let shelf = S::open(fixture);
    shelf.put(before);
    if fixture.disk().is_empty() {
        // The entries are elsewhere, so there are no files to remove.
        return;
    }
    for entry in fs::read_dir(fixture.directory()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }
    let put = match shelf.try_put(after) {
        // The store reports the removal once and reopens itself.
        Err(Error::Reopened { .. }) => shelf.try_put(after),
        put => put,
    };
    drop(shelf);
    if put.is_ok() {
        S::open(fixture).assert_has(after);
    }
}
