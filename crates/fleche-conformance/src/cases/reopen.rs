//! Opening again what is open, and what was closed.

use crate::{fixture::Fixture, item::Item, shelf::Shelf};

pub(crate) fn one_place_is_one_store<S: Shelf>(fixture: &Fixture) {
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

    // As long as one of them is there, so is what was put.
    drop((first, second));
    let fourth = S::open(fixture);
    fourth.assert_holds(&[Item::small(2), Item::large(3)]);
    third.assert_holds(&[Item::small(2), Item::large(3)]);
}

pub(crate) fn reopened_store_has_everything<S: Shelf>(fixture: &Fixture) {
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
        assert!(fixture.disk().is_empty(), "the store is not durable but leaves something on disk");
        return;
    }
    // Text, as another process would have it.
    let config = serde_json::from_str(&serde_json::to_string(&config).unwrap()).unwrap();
    for _ in 0..3 {
        let anew = S::try_open(&config).unwrap();
        anew.assert_holds(&items[1..]);
        anew.assert_lacks(items[0]);
    }
}
