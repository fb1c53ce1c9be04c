//! Tests of files that are not, or no longer, databases of fleche: opening fails, never panics, and returns no wrong
//! value.

use std::fs;

use super::common::{file, noise};
use fleche_core::{Digest, Error, ValueStore as _};
use fleche_store_redb::{RedbCalls, RedbValues};

#[test]
fn foreign_file_is_refused_and_left_alone() {
    let (_directory, path) = file();
    for content in [&b"text"[..], &noise(1, 100_000), &[0; 4096]] {
        fs::write(&path, content).unwrap();
        let error = RedbValues::open(&path).unwrap_err();
        assert!(matches!(&error, Error::Config { place, .. } if place.contains("store.redb")), "{error:?}");
        assert_eq!(fs::read(&path).unwrap(), content);
    }
    fs::write(&path, b"").unwrap();
    assert!(RedbValues::open(&path).is_ok(), "an empty file must open as a new store");
}

#[test]
fn file_whose_creation_was_cut_off_is_created_again() {
    let (_directory, path) = file();
    drop(redb::Database::create(&path).unwrap());
    let finished = fs::read(&path).unwrap();
    let mut without_magic = vec![0; finished.len()];
    without_magic[9..320].copy_from_slice(&finished[9..320]);
    for content in [without_magic, vec![0; finished.len()]] {
        fs::write(&path, content).unwrap();
        let store = RedbValues::open(&path).unwrap();
        let value = noise(1, 700);
        let id = Digest::of(&value);
        store.put(&id, &value).unwrap();
        drop(store);
        assert_eq!(RedbValues::open(&path).unwrap().get(&id).unwrap().as_deref(), Some(&*value));
    }
}

#[test]
fn database_of_another_program_is_refused() {
    let (_directory, path) = file();
    {
        let table: redb::TableDefinition<'_, u64, u64> = redb::TableDefinition::new("theirs");
        let database = redb::Database::create(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(table).unwrap().insert(1, 2).unwrap();
        transaction.commit().unwrap();
    }
    let error = RedbCalls::open(&path).unwrap_err();
    assert!(matches!(&error, Error::Config { why, .. } if why.contains("another program")), "{error:?}");
}

#[test]
fn database_of_another_version_is_refused_with_advice() {
    for (format, cure) in [(1, "move the file away"), (3, "later version")] {
        let (_directory, path) = file();
        drop(RedbCalls::open(&path).unwrap());
        {
            let table: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("fleche");
            let database = redb::Database::open(&path).unwrap();
            let transaction = database.begin_write().unwrap();
            transaction.open_table(table).unwrap().insert("format", format).unwrap();
            transaction.commit().unwrap();
        }
        let error = RedbCalls::open(&path).unwrap_err();
        assert!(matches!(&error, Error::Config { why, .. } if why.contains(cure)), "{error:?}");
    }
}
