//! Tests of configurations as text, and of paths.

use super::common::{file, put};
use fleche_core::{
    CallStore, Error, ValueStore,
    store::{CallStoreConfig, ValueStoreConfig},
};
use fleche_store_redb::{Durability, RedbCalls, RedbCallsConfig, RedbValues, RedbValuesConfig};

#[test]
fn only_non_default_durability_is_written_to_text() {
    let values: Box<dyn ValueStoreConfig> = Box::new(RedbValuesConfig::new("a/b"));
    assert_eq!(serde_json::to_string(&values).unwrap(), r#"{"type":"redb","path":"a/b"}"#);
    for (durability, text) in [(Durability::Immediate, "immediate"), (Durability::None, "none")] {
        let calls: Box<dyn CallStoreConfig> = Box::new(RedbCallsConfig::new("a/b").durability(durability));
        let json = format!(r#"{{"type":"redb","path":"a/b","durability":"{text}"}}"#);
        assert_eq!(serde_json::to_string(&calls).unwrap(), json);
        assert!(*serde_json::from_str::<Box<dyn CallStoreConfig>>(&json).unwrap() == *calls);
    }
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
