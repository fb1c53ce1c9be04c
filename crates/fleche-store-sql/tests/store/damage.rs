//! Tests of entries whose content does not match their key.

use fleche_core::{CallStore, Digest, DigestPrefix, Error, Query, ValueStore};

use super::common::{Scratch, key, record};

const ASIDE: &str = "SELECT count(*) FROM fleche_damaged";

#[test]
fn damaged_value_is_reported_once_and_quarantined_unchanged() {
    let scratch = Scratch::sqlite();
    let values = scratch.open_values();
    let id = Digest::of(b"some bytes");
    for round in 1..=2 {
        values.put(&id, b"some bytes").unwrap();
        scratch.execute("UPDATE fleche_values SET bytes = CAST('other byte' AS BLOB)");
        let error = values.get(&id).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
        assert!(error.to_string().contains(&id.to_string()) && error.to_string().contains("fleche_damaged"), "{error}");
        assert_eq!(values.get(&id).unwrap(), None);
        assert_eq!(values.ids(&DigestPrefix::all()).unwrap().count(), 0);
        assert_eq!(scratch.number(ASIDE), round);
    }
    let kept = "SELECT count(*) FROM fleche_damaged WHERE origin = 'values' AND bytes = CAST('other byte' AS BLOB)
        AND noticed > 1700000000000 AND length(key) = 32";
    assert_eq!(scratch.number(kept), 2);
}

#[test]
fn damaged_record_is_removed_with_its_index_rows() {
    let scratch = Scratch::sqlite();
    let calls = scratch.open_calls();
    for number in [1, 2] {
        calls.put(&key(number), &record(number)).unwrap();
    }
    scratch.execute("UPDATE fleche_calls SET record = zeroblob(100) WHERE written = 1");
    let query = Query::new().argument("nth", &1_u32).unwrap();
    let found: Vec<_> = calls.find(&query).unwrap().collect();
    assert!(matches!(&found[..], [Err(Error::Damaged { .. })]), "{found:?}");
    assert_eq!(calls.find(&query).unwrap().count(), 0);
    assert_eq!(calls.get(&key(1)).unwrap(), None);
    assert_eq!(scratch.number("SELECT count(*) FROM fleche_arguments"), 1);
    assert_eq!(scratch.number(ASIDE), 1);
    calls.put(&key(1), &record(1)).unwrap();
    assert_eq!(calls.find(&query).unwrap().map(Result::unwrap).collect::<Vec<_>>(), [(key(1), record(1))]);
}

#[test]
fn record_under_the_key_of_another_is_reported_as_damaged() {
    let scratch = Scratch::sqlite();
    let calls = scratch.open_calls();
    for number in [1, 2] {
        calls.put(&key(number), &record(number)).unwrap();
    }
    scratch.execute(
        "UPDATE fleche_calls SET record = (SELECT record FROM fleche_calls WHERE written = 1) WHERE written = 2",
    );
    assert!(matches!(calls.get(&key(2)).unwrap_err(), Error::Damaged { .. }));
    assert_eq!(calls.get(&key(1)).unwrap(), Some(record(1)));
}

#[test]
fn damaged_record_is_removed_only_without_condition() {
    let scratch = Scratch::sqlite();
    let calls = scratch.open_calls();
    calls.put(&key(1), &record(1)).unwrap();
    scratch.execute("UPDATE fleche_calls SET record = zeroblob(100)");
    assert!(!calls.remove(&key(1), Some(&record(1))).unwrap());
    assert!(calls.remove(&key(1), None).unwrap());
    assert!(!calls.contains(&key(1)).unwrap());
}

#[test]
fn damaged_value_that_cannot_be_quarantined_is_never_returned() {
    let scratch = Scratch::sqlite();
    let values = scratch.open_values();
    let id = Digest::of(b"some bytes");
    values.put(&id, b"some bytes").unwrap();
    scratch.execute("UPDATE fleche_values SET bytes = zeroblob(10)");
    scratch.execute(
        "CREATE TRIGGER full BEFORE INSERT ON fleche_damaged BEGIN SELECT raise(ABORT, 'no more of these'); END",
    );
    for _ in 0..2 {
        let error = values.get(&id).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }) && error.to_string().contains("cannot be moved"), "{error}");
    }
}
