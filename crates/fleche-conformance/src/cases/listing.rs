//! Cases of listing and queries: prefixes, many entries, changes during the iteration, and conditions.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use fleche_core::{
    CallKey, CallStore, Digest, DigestPrefix, Query, Record, call::RecordFields, encoding::Encoded, metadata::TAGS,
};

use crate::{
    capture::run_together,
    fixture::Fixture,
    known_limits::scaled,
    store_kind::StoreKind,
    test_data::{Item, argument, key, moment, record},
};

pub(crate) fn prefixes<S: StoreKind>(fixture: &Fixture) {
    let store = S::open(fixture);
    let items: Vec<_> = (0..600).map(Item::small).collect();
    store.put_all(&items);
    let mut ids: Vec<_> = items.iter().map(|&item| S::id(item)).collect();
    ids.sort();

    let check = |prefix: &str| {
        let expected: Vec<_> = ids.iter().filter(|id| id.to_string().starts_with(prefix)).copied().collect();
        let listed = store.ids(prefix);
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

pub(crate) fn many_entries_are_listed_once<S: StoreKind>(fixture: &Fixture) {
    let store = S::open(fixture);
    let each = scaled(50_000 / 4) as u64;
    let ids: HashSet<Digest> = run_together(4, |thread| {
        let mine = (0..each).map(|nth| Item::small(4 * nth + thread));
        mine.map(|item| (store.put(item), S::id(item)).1).collect::<Vec<_>>()
    })
    .into_iter()
    .flatten()
    .collect();

    let all = DigestPrefix::all();
    // A caller may stop the iteration early.
    assert_eq!(store.list(&all).take(10).filter_map(Result::ok).count(), 10);
    let mut seen = HashSet::new();
    for id in store.list(&all) {
        let id = id.unwrap();
        assert!(ids.contains(&id), "{id} was never put");
        assert!(seen.insert(id), "{id} is listed twice");
    }
    assert_eq!(seen.len(), ids.len(), "entries listed");
}

pub(crate) fn changes_while_iterating<S: StoreKind>(fixture: &Fixture) {
    let store = S::open(fixture);
    let items: Vec<_> = (0..2000).map(Item::small).collect();
    let item_of: HashMap<_, _> = items.iter().map(|&item| (S::id(item), item)).collect();
    let (early, late) = items.split_at(1900);
    store.put_all(early);

    let mut seen = HashSet::new();
    let mut late = late.iter();
    for id in store.list(&DigestPrefix::all()) {
        let id = id.unwrap_or_else(|error| panic!("listing fails while the store changes: {error:?}"));
        assert!(seen.insert(id), "{id} is listed twice");
        if seen.len() % 20 == 0 {
            assert!(store.remove(item_of[&id]), "{id} is listed, but cannot be removed");
            late.next().into_iter().for_each(|&item| store.put(item));
        }
    }
    let early: HashSet<_> = early.iter().map(|&item| S::id(item)).collect();
    let missed = early.difference(&seen).count();
    assert_eq!(missed, 0, "entries that were present until the end, or until they were listed, were not listed");

    // Two iterators and a writer on one thread must not block each other.
    let all = DigestPrefix::all();
    let both = store.list(&all).zip(store.list(&all)).inspect(|_| store.put(Item::small(1)));
    assert!(both.count() > 1000);
}

/// Fills a store with calls of three functions with similar names, two versions and the arguments 0 to 9.
///
/// Returns the store and its records in the order of their times of writing.
fn filled(fixture: &Fixture) -> (std::sync::Arc<dyn CallStore>, Vec<Record>) {
    let store = fixture.open_calls();
    let mut records = Vec::new();
    for (function, version, nth) in ["find::f", "find::fg", "find"]
        .into_iter()
        .flat_map(|function| [1, 2].map(|version| (function, version)))
        .flat_map(|(function, version)| (0..10).map(move |nth| (function, version, nth)))
    {
        let mut fields: RecordFields = (*record(function, nth, &nth.to_le_bytes())).clone();
        fields.function.version = version;
        fields.arguments.push(argument("third", nth % 3));
        fields.written = moment(records.len() as u64);
        records.push(Record::new(fields));
    }
    // They are put in reverse order, so that no query can rely on it.
    for record in records.iter().rev() {
        store.put(&key(record), record).unwrap();
    }
    (store, records)
}

/// Asserts that the query finds exactly the records that fulfil the condition, once each and under their keys.
///
/// `expected` is the number of these records.
fn check(fixture: &Fixture, query: &Query, expected: usize, fulfils: impl Fn(&Record) -> bool) {
    let (store, records) = filled(fixture);
    let mut wanted: Vec<(CallKey, Record)> =
        records.iter().filter(|record| fulfils(record)).map(|record| (key(record), record.clone())).collect();
    assert_eq!(wanted.len(), expected, "the case is wrong: the condition fits another number of records");
    let mut found: Vec<_> = store.find(query).unwrap().map(Result::unwrap).collect();
    wanted.sort_by_key(|(key, _)| *key);
    found.sort_by_key(|(key, _)| *key);
    assert!(found == wanted, "{query:?} finds {} records of {}", found.len(), wanted.len());
}

pub(crate) fn find_all(fixture: &Fixture) {
    check(fixture, &Query::new(), 60, |_| true);
}

pub(crate) fn find_by_function(fixture: &Fixture) {
    for name in ["find::f", "find::fg", "find"] {
        check(fixture, &Query::new().function(name), 20, |record| record.function.name == name);
    }
    for name in ["find::", "FIND", "f", "", "find::f%", "find::_"] {
        check(fixture, &Query::new().function(name), 0, |_| false);
    }
}

pub(crate) fn find_by_version(fixture: &Fixture) {
    check(fixture, &Query::new().version(2), 30, |record| record.function.version == 2);
    check(fixture, &Query::new().version(3), 0, |_| false);
}

pub(crate) fn find_by_argument(fixture: &Fixture) {
    let has = |name, value| move |record: &Record| record.arguments.contains(&argument(name, value));
    let where_is = |name, value: u64| Query::new().argument(name, &value).unwrap();
    check(fixture, &where_is("nth", 4), 6, has("nth", 4));
    check(fixture, &where_is("third", 0), 24, has("third", 0));
    check(fixture, &where_is("fixed", 7), 60, has("fixed", 7));
    // No call has the value 10 for `nth`, or a parameter `unknown`.
    check(fixture, &where_is("nth", 10), 0, |_| false);
    check(fixture, &where_is("unknown", 4), 0, |_| false);
    let both = where_is("nth", 4).argument("third", &1u64).unwrap();
    check(fixture, &both, 6, |record| has("nth", 4)(record) && has("third", 1)(record));
    let contradiction = where_is("nth", 4).argument("nth", &5u64).unwrap();
    check(fixture, &contradiction, 0, |_| false);
}

pub(crate) fn find_by_metadata(fixture: &Fixture) {
    let store = fixture.open_calls();
    let records: Vec<Record> = (0..20).map(with_metadata).collect();
    for record in &records {
        store.put(&key(record), record).unwrap();
    }
    let found = |query: &Query| {
        let found: BTreeSet<CallKey> = store.find(query).unwrap().map(|found| found.unwrap().0).collect();
        found
    };
    let those = |fulfils: &dyn Fn(u64) -> bool| -> BTreeSet<CallKey> {
        (0..20).filter(|nth| fulfils(*nth)).map(|nth| key(&with_metadata(nth))).collect()
    };
    let long = "l".repeat(100);
    assert_eq!(found(&Query::new().tag("project", "alloy")), those(&|nth| nth % 2 == 0));
    assert_eq!(found(&Query::new().tag("project", "ALLOY")), those(&|_| false));
    assert_eq!(found(&Query::new().tag("alloy", "project")), those(&|_| false));
    assert_eq!(found(&Query::new().tag("note", &long)), those(&|nth| nth % 5 == 0));
    let seventh = Query::new().metadata("count", "thirds", &2_u64).unwrap();
    assert_eq!(found(&seventh), those(&|nth| nth % 3 == 2));
    assert_eq!(found(&seventh.tag("project", "alloy")), those(&|nth| nth % 3 == 2 && nth % 2 == 0));
    // A number of another type has the same encoding; a text does not.
    assert_eq!(found(&Query::new().metadata("count", "thirds", &2_i8).unwrap()), those(&|nth| nth % 3 == 2));
    assert_eq!(found(&Query::new().metadata("count", "thirds", "2").unwrap()), those(&|_| false));
    assert_eq!(found(&Query::new().metadata("noise", "thirds", &2).unwrap()), those(&|_| false));
}

/// Returns a record whose tags and metadata depend on its number.
fn with_metadata(nth: u64) -> Record {
    let mut fields: RecordFields = (*record("find::metadata", nth, b"noise")).clone();
    let mut tags = BTreeMap::from([("project", if nth.is_multiple_of(2) { "alloy" } else { "glass" }.to_owned())]);
    if nth.is_multiple_of(5) {
        tags.insert("note", "l".repeat(100));
    }
    fields.metadata.insert(TAGS, Encoded::encode(&tags).unwrap());
    fields.metadata.insert("count", Encoded::encode(&BTreeMap::from([("thirds", nth % 3)])).unwrap());
    Record::new(fields)
}

pub(crate) fn find_since(fixture: &Fixture) {
    for (nth, expected) in [(0, 60), (1, 59), (30, 30), (59, 1), (60, 0)] {
        check(fixture, &Query::new().since(moment(nth)), expected, |record| record.written >= moment(nth));
    }
}

pub(crate) fn find_combined(fixture: &Fixture) {
    let query = Query::new().function("find::f").version(2).since(moment(13)).argument("third", &0u64).unwrap();
    let third = argument("third", 0);
    // Version 2 of `find::f` was written from moment 10 on, so the calls with the arguments 3, 6 and 9 are left.
    check(fixture, &query, 3, |record| {
        record.function.name == "find::f"
            && record.function.version == 2
            && record.written >= moment(13)
            && record.arguments.contains(&third)
    });
}

pub(crate) fn find_while_removing(fixture: &Fixture) {
    let (store, _) = filled(fixture);
    let query = Query::new().function("find::f");
    let mut removed = 0;
    for found in store.find(&query).unwrap() {
        let (key, record) = found.unwrap();
        assert!(store.remove(&key, Some(&record)).unwrap(), "a record that `find` returned could not be removed");
        store.put(&Item::small(removed).key(), &Item::small(removed).record()).unwrap();
        removed += 1;
    }
    assert_eq!(removed, 20);
    assert_eq!(store.find(&query).unwrap().count(), 0);
    assert_eq!(store.find(&Query::new()).unwrap().count(), 60);
}
