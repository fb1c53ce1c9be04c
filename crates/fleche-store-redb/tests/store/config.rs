//! Configurations as text, and paths.

use super::common::{file, put};
use fleche_core::{
    CallStore, Error, ValueStore,
    store::{CallStoreConfig, ValueStoreConfig},
};
use fleche_store_redb::{Durability, RedbCalls, RedbCallsConfig, RedbValues, RedbValuesConfig};

#[test]
fn the_default_durability_does_not_stand_in_text_and_others_do() {
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
fn relative_paths_become_relative_to_where_the_configuration_was_found() {
    let (directory, _) = file();
    let mut config: Box<dyn CallStoreConfig> = Box::new(RedbCallsConfig::new("cache/calls.redb"));
    config.resolve(directory.path());
    let calls = config.open().unwrap();
    assert!(directory.path().join("cache/calls.redb").is_file());
    assert!(*calls.config() == *config);
}

#[test]
fn handles_have_durabilities_of_their_own() {
    let (_directory, path) = file();
    let immediate = RedbValues::open_with(&RedbValuesConfig::new(&path).durability(Durability::Immediate)).unwrap();
    let eventual = RedbValues::open(&path).unwrap();
    let json = |values: &RedbValues| serde_json::to_string(&values.config()).unwrap();
    assert!(json(&immediate).contains("immediate") && !json(&eventual).contains("durability"));
    let id = put(&immediate, b"one");
    assert!(eventual.contains(&id).unwrap());
}

#[test]
fn a_directory_and_a_place_below_a_file_are_no_places_for_a_store() {
    let (directory, path) = file();
    let refused = RedbCalls::open(directory.path()).unwrap_err();
    assert!(matches!(&refused, Error::Io { path, .. } if path == directory.path()), "{refused}");
    std::fs::write(&path, "").unwrap();
    assert!(matches!(RedbCalls::open(path.join("below")), Err(Error::Io { .. })));
}
