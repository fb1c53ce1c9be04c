//! Tests of the configurations of memory stores, and of the stores that they open.

use fleche_core::{
    Digest, ValueStore,
    store::{Reach, ValueStoreConfig, backends},
};
use fleche_store_memory::{MemoryValues, MemoryValuesConfig};

fn with_one_value() -> (MemoryValues, Digest) {
    let (values, id) = (MemoryValues::new(), Digest::of(b"x"));
    values.put(&id, b"x").unwrap();
    (values, id)
}

#[test]
fn configuration_of_a_store_reopens_it() {
    let (values, id) = with_one_value();
    let text = serde_json::to_string(&values.config()).unwrap();
    let config: Box<dyn ValueStoreConfig> = serde_json::from_str(&text).unwrap();
    assert_eq!(*config, *values.config());
    assert!(config.open().unwrap().contains(&id).unwrap());
}

#[test]
fn store_is_dropped_with_its_last_handle() {
    let (values, id) = with_one_value();
    let (config, clone) = (values.config(), values.clone());
    drop(values);
    assert!(config.open().unwrap().contains(&id).unwrap());
    drop(clone);
    assert!(!config.open().unwrap().contains(&id).unwrap());
}

#[test]
fn each_opening_without_an_id_creates_a_store() {
    let config: Box<dyn ValueStoreConfig> = toml::from_str("type = 'memory'").unwrap();
    let (first, second) = (config.open().unwrap(), config.open().unwrap());
    first.put(&Digest::of(b"x"), b"x").unwrap();
    assert!(!second.contains(&Digest::of(b"x")).unwrap());
    assert_ne!(*first.config(), *second.config());
}

#[test]
fn configuration_names_backend_and_store() {
    let config: Box<dyn ValueStoreConfig> = Box::new(MemoryValuesConfig::with_id("mine"));
    assert_eq!(serde_json::to_string(&config).unwrap(), r#"{"type":"memory","id":"mine"}"#);
    assert_eq!(config.reach(), Reach::Process);
}

#[test]
fn misspelled_setting_is_named_in_the_error() {
    let read: Result<Box<dyn ValueStoreConfig>, _> = serde_json::from_str(r#"{"type":"memory","idd":"mine"}"#);
    let error = read.unwrap_err().to_string();
    assert!(error.contains("idd"), "{error}");
}

#[test]
fn backend_is_registered() {
    let memory = backends().into_iter().find(|backend| backend.name == "memory").unwrap();
    assert!(!memory.durable);
    let (values, calls) = (memory.scratch)(std::path::Path::new("unused"));
    values.open().unwrap();
    calls.open().unwrap();
}
