//! Cases of put, get and remove, for both values and records.

use crate::{fixture::Fixture, item::Item, shelf::StoreKind};

pub(crate) fn put_then_get<S: StoreKind>(fixture: &Fixture) {
    let shelf = S::open(fixture);
    let items: Vec<_> = (0..20).map(Item::small).chain((20..24).map(Item::large)).collect();
    for (put, &item) in items.iter().enumerate() {
        shelf.assert_lacks(item);
        shelf.put(item);
        shelf.assert_holds(&items[..=put]);
    }
}

pub(crate) fn put_is_idempotent<S: StoreKind>(fixture: &Fixture) {
    let shelf = S::open(fixture);
    for item in [Item::small(1), Item::large(2), Item::small(1), Item::large(2), Item::small(1)] {
        shelf.put(item);
    }
    shelf.assert_holds(&[Item::small(1), Item::large(2)]);
}

pub(crate) fn remove_then_put_again<S: StoreKind>(fixture: &Fixture) {
    let shelf = S::open(fixture);
    let (item, other) = (Item::large(1), Item::small(2));
    shelf.put(other);
    for _ in 0..3 {
        assert!(!shelf.remove(item), "`remove` of an absent entry returned true");
        shelf.put(item);
        shelf.assert_holds(&[item, other]);
        assert!(shelf.remove(item), "`remove` of a present entry returned false");
        shelf.assert_lacks(item);
        shelf.assert_holds(&[other]);
    }
}
