//! Tests of damage to each page of the file: no wrong value is returned, and no panic leaves the store.

#[path = "store/common.rs"]
#[allow(dead_code)] // Other tests use the rest.
mod common;
#[path = "store/silence.rs"]
mod silence;

use std::fs;

use common::{file, noise, put, put_record, record};
use fleche_core::{CallStore, DigestPrefix, Error, Query, ValueStore};
use fleche_store_redb::{RedbCalls, RedbValues};
use silence::silence_redb;

#[test]
fn damage_to_any_page_causes_neither_wrong_values_nor_panics() {
    silence_redb();
    let (_directory, path) = file();
    let values: Vec<_> = (0..40).map(|number| noise(number, 700)).collect();
    {
        let (store, calls) = (RedbValues::open(&path).unwrap(), RedbCalls::open(&path).unwrap());
        for value in &values {
            put(&store, value);
        }
        (0..40).for_each(|number| put_record(&calls, &record("f", number)));
    }
    let whole = fs::read(&path).unwrap();
    let mut opened = 0;
    for page in 0..whole.len() / 4096 {
        for (from, len) in [(0, 4096), (0, 16), (100, 100)] {
            let mut content = whole.clone();
            for (byte, change) in content[page * 4096 + from..][..len].iter_mut().zip((1..=251).cycle()) {
                *byte ^= change;
            }
            fs::write(&path, content).unwrap();
            let _ = fs::remove_file(path.with_file_name("store.redb.damaged-1"));
            let (Ok(store), Ok(calls)) = (RedbValues::open(&path), RedbCalls::open(&path)) else { continue };
            opened += 1;
            for value in &values {
                let id = fleche_core::Digest::of(value);
                if let Ok(Some(found)) = store.get(&id) {
                    assert!(found == value, "a wrong value for damage to page {page}");
                }
            }
            for number in 0..40 {
                let (key, whole) = record("f", number);
                if let Ok(Some(found)) = calls.get(&key) {
                    assert!(found == whole, "a wrong record for damage to page {page}");
                }
            }
            let _ = calls.find(&Query::new().function("f")).unwrap().filter_map(Result::ok).count();
            let _ = store.ids(&DigestPrefix::all()).unwrap().filter_map(Result::ok).count();
            let _ = store.put(&fleche_core::Digest::of(b"new"), b"new");
        }
    }
    assert!(opened > 10, "the file must open after most kinds of damage, but opened only {opened} times");
}

#[test]
fn truncated_file_is_refused_or_replaced_by_a_new_one() {
    silence_redb();
    let (_directory, path) = file();
    let values: Vec<_> = (0..200).map(|number| noise(number, 700)).collect();
    {
        let store = RedbValues::open(&path).unwrap();
        for value in &values {
            put(&store, value);
        }
    }
    let whole = fs::read(&path).unwrap();
    let mut reopened = 0;
    for part in 1..20 {
        fs::write(&path, &whole[..whole.len() * part / 20]).unwrap();
        let aside = path.with_file_name("store.redb.damaged-1");
        let _ = fs::remove_file(&aside);
        let cut = &whole[..whole.len() * part / 20];
        let store = match RedbValues::open(&path) {
            // The remaining part does not show that the file belongs to fleche.
            Err(error) => {
                assert!(matches!(error, Error::Config { .. }), "{error:?}");
                assert!(!names_our_tables(cut) && fs::read(&path).unwrap() == cut, "part {part}: {error}");
                continue;
            }
            Ok(store) => store,
        };
        reopened += 1;
        for value in &values {
            let found = store.get(&fleche_core::Digest::of(value));
            assert!(!matches!(found, Ok(Some(found)) if found != value));
            put(&store, value);
        }
        drop(store);
        let store = RedbValues::open(&path).unwrap();
        for value in &values {
            assert_eq!(store.get(&fleche_core::Digest::of(value)).unwrap().as_deref(), Some(&**value));
        }
        assert!(fs::read(&aside).unwrap() == cut);
    }
    assert!(reopened > 0, "no truncated file contained the names of fleche's tables");
}

/// Returns whether `content` contains the names of all of fleche's tables. The pages to which redb writes them depend
/// on the times of its commits.
fn names_our_tables(content: &[u8]) -> bool {
    ["fleche", "values", "records", "ages"]
        .iter()
        .all(|name| content.windows(name.len()).any(|window| window == name.as_bytes()))
}
