//! Cases of listing: prefixes, many entries, and changes during the iteration.

use std::collections::{HashMap, HashSet};

use fleche_core::{Digest, DigestPrefix};

use crate::{capture::together, fixture::Fixture, item::Item, scale::scaled, shelf::StoreKind};

pub(crate) fn prefixes<S: StoreKind>(fixture: &Fixture) {
    let shelf = S::open(fixture);
    let items: Vec<_> = (0..600).map(Item::small).collect();
    shelf.put_all(&items);
    let mut ids: Vec<_> = items.iter().map(|&item| S::id(item)).collect();
    ids.sort();

    let check = |prefix: &str| {
        let expected: Vec<_> = ids.iter().filter(|id| id.to_string().starts_with(prefix)).copied().collect();
        let listed = shelf.ids(prefix);
        assert!(listed == expected, "prefix `{prefix}` lists {} of {} entries", listed.len(), expected.len());
        expected.len()
    };
    assert_eq!(check(""), ids.len());
    let in_all = |prefixes: &[String]| prefixes.iter().map(|prefix| check(prefix)).sum::<usize>();
    for digits in 1..=3 {
        let all: Vec<_> =
            (0..16usize.pow(digits)).map(|nth| format!("{nth:0width$x}", width = digits as usize)).collect();
        // Every prefix of one and of two digits, and some of the 4096 prefixes of three digits.
        let some: Vec<_> = all.iter().step_by(if digits == 3 { 37 } else { 1 }).cloned().collect();
        assert!(digits == 3 || in_all(&some) == ids.len(), "prefixes of {digits} digits");
        in_all(&some);
    }
    for id in ids.iter().step_by(50) {
        let text = id.to_string();
        for digits in [3, 4, 5, 31, 32, 33, 62, 63, 64] {
            assert!(check(&text[..digits]) > 0);
        }
        // No entry differs from this one only in the last digit.
        let last = if text.ends_with('0') { '1' } else { '0' };
        assert_eq!(check(&format!("{}{last}", &text[..63])), 0);
    }
}

pub(crate) fn many_entries_once_each<S: StoreKind>(fixture: &Fixture) {
    let shelf = S::open(fixture);
    let each = scaled(50_000 / 4) as u64;
    let ids: HashSet<Digest> = together(4, |thread| {
        let mine = (0..each).map(|nth| Item::small(4 * nth + thread));
        mine.map(|item| (shelf.put(item), S::id(item)).1).collect::<Vec<_>>()
    })
    .into_iter()
    .flatten()
    .collect();

    let all = DigestPrefix::all();
    // A caller may stop the iteration early.
    assert_eq!(shelf.list(&all).take(10).filter_map(Result::ok).count(), 10);
    let mut seen = HashSet::new();
    for id in shelf.list(&all) {
        let id = id.unwrap();
        assert!(ids.contains(&id), "{id} was never put");
        assert!(seen.insert(id), "{id} is listed twice");
    }
    assert_eq!(seen.len(), ids.len(), "entries listed");
}

pub(crate) fn changes_while_iterating<S: StoreKind>(fixture: &Fixture) {
    let shelf = S::open(fixture);
    let items: Vec<_> = (0..2000).map(Item::small).collect();
    let item_of: HashMap<_, _> = items.iter().map(|&item| (S::id(item), item)).collect();
    let (early, late) = items.split_at(1900);
    shelf.put_all(early);

    let mut seen = HashSet::new();
    let mut late = late.iter();
    for id in shelf.list(&DigestPrefix::all()) {
        let id = id.unwrap_or_else(|error| panic!("listing fails while the store changes: {error}"));
        assert!(seen.insert(id), "{id} is listed twice");
        if seen.len() % 20 == 0 {
            assert!(shelf.remove(item_of[&id]), "{id} is listed, but cannot be removed");
            late.next().into_iter().for_each(|&item| shelf.put(item));
        }
    }
    let early: HashSet<_> = early.iter().map(|&item| S::id(item)).collect();
    let missed = early.difference(&seen).count();
    assert_eq!(missed, 0, "entries that were present until the end, or until they were listed, were not listed");

    // Two iterators and a writer on one thread must not block each other.
    let all = DigestPrefix::all();
    let both = shelf.list(&all).zip(shelf.list(&all)).inspect(|_| shelf.put(Item::small(1)));
    assert!(both.count() > 1000);
}
