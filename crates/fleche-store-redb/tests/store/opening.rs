//! Tests of opening: configurations, paths, and files that are not, or no longer, databases of fleche. Opening them fails,
//! never panics, and returns no wrong value.

use std::fs;

use fleche_core::{
    CallStore, Digest, Error, ValueStore,
    store::{CallStoreConfig, ValueStoreConfig},
};
use fleche_store_redb::{Durability, RedbCalls, RedbCallsConfig, RedbValues, RedbValuesConfig};

use super::common::{file, noise, put};

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
        let id = Digest::hash(&value);
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

#[test]
fn only_non_default_durability_is_written_to_text() {
    let values: Box<dyn ValueStoreConfig> = Box::new(RedbValuesConfig::new("a/b"));
    assert_eq!(serde_json::to_string(&values).unwrap(), r#"{"type":"redb","path":"a/b"}"#);
    for (durability, text) in [(Durability::Immediate, "immediate"), (Durability::None, "none")] {
        assert_eq!(durability.to_string(), text);
        let calls: Box<dyn CallStoreConfig> = Box::new(RedbCallsConfig::new("a/b").durability(durability));
        let json = format!(r#"{{"type":"redb","path":"a/b","durability":"{text}"}}"#);
        assert_eq!(serde_json::to_string(&calls).unwrap(), json);
        assert!(*serde_json::from_str::<Box<dyn CallStoreConfig>>(&json).unwrap() == *calls);
    }
    assert_eq!(Durability::Eventual.to_string(), "eventual");
    let eventual = serde_json::from_str(r#"{"type":"redb","path":"a/b","durability":"eventual"}"#);
    assert!(*eventual.map(|config: Box<dyn ValueStoreConfig>| config).unwrap() == *values);
    let misspelt = serde_json::from_str::<Box<dyn CallStoreConfig>>(r#"{"type":"redb","path":"a","durable":true}"#);
    assert!(misspelt.unwrap_err().to_string().contains("durable"));
}

#[test]
fn relative_path_is_resolved_against_the_configuration_file() {
    let (directory, _) = file();
    let mut config: Box<dyn CallStoreConfig> = Box::new(RedbCallsConfig::new("cache/calls.redb"));
    config.resolve(directory.path());
    let calls = config.open().unwrap();
    assert!(directory.path().join("cache/calls.redb").is_file());
    assert!(*calls.config() == *config);
}

#[test]
fn each_handle_keeps_its_own_durability() {
    let (_directory, path) = file();
    let immediate = RedbValues::open_with(&RedbValuesConfig::new(&path).durability(Durability::Immediate)).unwrap();
    let eventual = RedbValues::open(&path).unwrap();
    let json = |values: &RedbValues| serde_json::to_string(&values.config()).unwrap();
    assert!(json(&immediate).contains("immediate") && !json(&eventual).contains("durability"));
    let id = put(&immediate, b"one");
    assert!(eventual.contains(&id).unwrap());
}

#[test]
fn directory_and_path_below_a_file_are_refused() {
    let (directory, path) = file();
    let refused = RedbCalls::open(directory.path()).unwrap_err();
    assert!(matches!(&refused, Error::Io { path, .. } if path == directory.path()), "{refused}");
    std::fs::write(&path, "").unwrap();
    assert!(matches!(RedbCalls::open(path.join("below")), Err(Error::Io { .. })));
}
