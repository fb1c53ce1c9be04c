//! Cases of records: equality after a round trip, overwriting, compare-and-remove.

use std::collections::BTreeMap;

use fleche_core::{
    Digest, Query, Record, ValueRef,
    call::{RecordFields, RecordSummary},
    encoding::{self, Encoded},
};

use crate::{
    fixture::Fixture,
    test_data::{Item, argument, key, noise, record},
};

pub(crate) fn absence(fixture: &Fixture) {
    let store = fixture.open_calls();
    let absent = Item::small(1);
    let absent_key = absent.key();
    for round in ["in an empty store", "next to another record"] {
        assert_eq!(store.get(&absent_key).unwrap(), None, "get, {round}");
        assert!(!store.contains(&absent_key).unwrap(), "contains, {round}");
        assert!(!store.remove(&absent_key, None).unwrap(), "remove, {round}");
        assert!(!store.remove(&absent_key, Some(&absent.record())).unwrap(), "compare-and-remove, {round}");
        assert_eq!(store.keys(&absent_key.into()).unwrap().count(), 0, "keys, {round}");
        let query = Query::new().function("conformance::unknown");
        assert_eq!(store.find(&query).unwrap().count(), 0, "find, {round}");
        let other = record("conformance::other", 1, b"noise");
        store.put(&key(&other), &other).unwrap();
    }
}

pub(crate) fn records_round_trip(fixture: &Fixture) {
    let store = fixture.open_calls();
    let records = unusual_records();
    for record in &records {
        store.put(&key(record), record).unwrap();
    }
    for record in &records {
        let found = store.get(&key(record)).unwrap().expect("a record that was put must be found");
        assert!(found == *record, "{} comes back changed: {found:?}", record.function.name);
        assert_eq!(store.summary(&key(record)).unwrap(), Some(RecordSummary::from(record)));
        assert!(
            store.remove(&key(record), Some(&found)).unwrap(),
            "the record that `get` returned differs from the stored one"
        );
    }
}

/// Returns records that each have something unusual in one field, and a plain one.
fn unusual_records() -> Vec<Record> {
    let plain = record("conformance::plain", 1, b"noise");
    let change = |name: &'static str, change: &dyn Fn(&mut RecordFields)| {
        let mut fields = (*plain).clone();
        fields.function.name = name.into();
        change(&mut fields);
        Record::new(fields)
    };
    let many: &dyn Fn(&mut RecordFields) = &|fields| {
        let value = |nth| if nth % 2 == 0 { nth } else { u64::MAX - nth };
        fields.arguments = (0..5000).map(|nth| argument("argument", value(nth))).collect();
    };
    let other: &dyn Fn(&mut RecordFields) = &|fields| {
        let nested = BTreeMap::from([("a", Some(vec![1.5f64, 2.5])), ("b", None)]);
        fields.other.insert("from a later version".into(), Encoded::encode(&nested).unwrap());
        fields.other.insert(String::new(), Encoded::encode(&noise(1, 3000)).unwrap());
        fields.other.insert("zz \u{1f3f9}".into(), Encoded::encode(&()).unwrap());
    };
    let metadata: &dyn Fn(&mut RecordFields) = &|fields| {
        for nth in 0..200 {
            fields.metadata.insert(format!("kind {nth}"), Encoded::encode(&(nth, "text", noise(nth, 100))).unwrap());
        }
    };
    let stored: &dyn Fn(&mut RecordFields) = &|fields| {
        fields.arguments[0].1 = ValueRef::Stored(Digest::hash(b"an argument"));
        fields.result = ValueRef::Stored(Digest::hash(b"a result"));
    };
    let extremes: &dyn Fn(&mut RecordFields) = &|fields| {
        fields.function.version = u64::MAX;
        fields.function.hash_code = true;
        fields.written.0 = u64::MAX;
        fields.writer.process = u32::MAX;
        fields.writer.host = "h\u{f6}st \u{0} '\"\\ \n".into();
        fields.result = ValueRef::new(&encoding::to_vec(&None::<u8>).unwrap());
    };
    let bare: &dyn Fn(&mut RecordFields) = &|fields| {
        fields.arguments.clear();
        fields.metadata = fleche_core::metadata::Metadata::default();
        fields.written.0 = 0;
    };
    vec![
        change("conformance::many_arguments", many),
        change("conformance::unknown_fields", other),
        change("conformance::metadata", metadata),
        change("conformance::stored_values", stored),
        change("conformance::extremes::<'\"; DROP TABLE \u{1f3f9}>", extremes),
        change("", bare),
        plain,
    ]
}

pub(crate) fn last_writer_wins(fixture: &Fixture) {
    let store = fixture.open_calls();
    let key = Item::small(1).key();
    // Records become longer and shorter in turn.
    for (version, len) in (0..50).zip([10, 510, 1010].into_iter().cycle()) {
        let record = record("conformance::function", 1, &noise(version, len));
        store.put(&key, &record).unwrap();
        let found = store.get(&key).unwrap();
        assert!(found.as_ref() == Some(&record), "after put number {version}, `get` returns {found:?}");
    }
    assert_eq!(store.keys(&key.into()).unwrap().count(), 1);
}

pub(crate) fn compare_and_remove(fixture: &Fixture) {
    let store = fixture.open_calls();
    let (key, bystander) = (Item::small(1).key(), Item::small(2));
    let (earlier, later) =
        (record("conformance::function", 1, b"earlier"), record("conformance::function", 1, b"later, longer"));
    store.put(&bystander.key(), &bystander.record()).unwrap();

    store.put(&key, &earlier).unwrap();
    store.put(&key, &later).unwrap();
    assert!(!store.remove(&key, Some(&earlier)).unwrap(), "`remove` reports to have removed the earlier record");
    assert!(store.get(&key).unwrap().as_ref() == Some(&later), "the later record was removed in place of the earlier");
    assert!(store.remove(&key, Some(&later)).unwrap(), "the present record was not removed");
    assert_eq!(store.get(&key).unwrap(), None);
    assert!(!store.remove(&key, Some(&later)).unwrap(), "the record was removed twice");

    // A record that differs only in its time of writing is another record.
    let mut fields = (*earlier).clone();
    fields.written.0 += 1;
    store.put(&key, &earlier).unwrap();
    assert!(
        !store.remove(&key, Some(&Record::new(fields))).unwrap(),
        "records with different times are treated as equal"
    );
    assert!(store.remove(&key, None).unwrap());
    assert!(store.get(&bystander.key()).unwrap().is_some(), "the record of another call is gone");
}

pub(crate) fn sync_changes_nothing(fixture: &Fixture) {
    let store = fixture.open_calls();
    let item = Item::large(1);
    store.put(&item.key(), &item.record()).unwrap();
    store.sync(&item.key()).unwrap();
    assert!(store.get(&item.key()).unwrap() == Some(item.record()));
    store.sync(&item.key()).unwrap();
}
