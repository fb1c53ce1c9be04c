//! Tests of configurations, of opening stores, and of places where no store can be.

use std::{fs, path::Path};

use super::common::{file_of, files, values};
use fleche_core::{
    Digest, Error, ValueStore,
    store::{CallStoreConfig, Reach, ValueStoreConfig, backends},
};
use fleche_store_file::{ClaimMethod, Durability, FileCallsConfig, FileValues, FileValuesConfig};

const BYTES: &[u8] = b"bytes";

#[test]
fn configuration_is_backend_name_and_directory() {
    let config: Box<dyn ValueStoreConfig> = Box::new(FileValuesConfig::new("cache/values"));
    assert_eq!(serde_json::to_string(&config).unwrap(), r#"{"type":"file","root":"cache/values"}"#);
    assert_eq!(config.reach(), Reach::Shared);
}

#[test]
fn configuration_round_trips_through_text() {
    let written: Box<dyn CallStoreConfig> = Box::new(FileCallsConfig::new("calls").durability(Durability::Always));
    let text = toml::to_string(&written).unwrap();
    assert!(text.contains(r#"durability = "always""#), "{text}");
    let read: Box<dyn CallStoreConfig> = toml::from_str(&text).unwrap();
    assert_eq!(*read, *written);
}

#[test]
fn shared_is_written_only_if_set() {
    let config = |shared| -> Box<dyn CallStoreConfig> { Box::new(FileCallsConfig::new("calls").shared(shared)) };
    assert_eq!(serde_json::to_string(&config(false)).unwrap(), r#"{"type":"file","root":"calls"}"#);
    let text = serde_json::to_string(&config(true)).unwrap();
    assert_eq!(text, r#"{"type":"file","root":"calls","shared":true}"#);
    assert_eq!(*serde_json::from_str::<Box<dyn CallStoreConfig>>(&text).unwrap(), *config(true));
}

#[test]
fn method_of_claiming_is_written_only_if_set() {
    let config = |claims| -> Box<dyn CallStoreConfig> { Box::new(FileCallsConfig::new("calls").claims(claims)) };
    assert_eq!(serde_json::to_string(&config(ClaimMethod::Auto)).unwrap(), r#"{"type":"file","root":"calls"}"#);
    for (claims, name) in [(ClaimMethod::Locks, "locks"), (ClaimMethod::Leases, "leases")] {
        let text = serde_json::to_string(&config(claims)).unwrap();
        assert_eq!(text, format!(r#"{{"type":"file","root":"calls","claims":"{name}"}}"#));
        assert_eq!(*serde_json::from_str::<Box<dyn CallStoreConfig>>(&text).unwrap(), *config(claims));
    }
    let explicit: Box<dyn CallStoreConfig> = toml::from_str("type = 'file'\nroot = 'calls'\nclaims = 'auto'").unwrap();
    assert_eq!(*explicit, *config(ClaimMethod::Auto));
}

#[test]
fn misspelled_setting_is_named_in_the_error() {
    let read: Result<Box<dyn ValueStoreConfig>, _> = toml::from_str("type = 'file'\nroot = 'x'\ndurabilty = 'never'");
    let error = read.unwrap_err().to_string();
    assert!(error.contains("durabilty"), "{error}");
}

#[test]
fn relative_directory_is_resolved_against_the_configuration_file() {
    for (root, resolved) in [("values", "/etc/fleche/values"), ("/values", "/values")] {
        let mut config = FileValuesConfig::new(root);
        config.resolve(Path::new("/etc/fleche"));
        assert_eq!(config.root, Path::new(resolved));
    }
}

#[test]
fn configuration_of_a_store_reopens_it() {
    let (root, values) = values();
    values.put(&Digest::hash(BYTES), BYTES).unwrap();
    let text = serde_json::to_string(&values.config()).unwrap();
    drop(values);
    let config: Box<dyn ValueStoreConfig> = serde_json::from_str(&text).unwrap();
    assert_eq!(config.open().unwrap().get(&Digest::hash(BYTES)).unwrap().unwrap(), BYTES);
    assert!(text.contains(root.path().to_str().unwrap()));
}

#[test]
#[cfg(unix)]
fn directory_under_two_names_is_one_store() {
    let (root, values) = values();
    let link = root.path().with_extension("link");
    std::os::unix::fs::symlink(root.path(), &link).unwrap();
    let same = FileValues::open(&link).unwrap();
    fs::remove_file(&link).unwrap();
    // The name of the first opening is used.
    same.put(&Digest::hash(BYTES), BYTES).unwrap();
    assert_eq!(same.root(), values.root());
    assert!(values.contains(&Digest::hash(BYTES)).unwrap());
}

#[test]
fn values_are_kept_and_refreshed_with_every_durability() {
    for durability in [Durability::Auto, Durability::Always, Durability::Never] {
        assert_eq!(serde_json::to_string(&durability).unwrap(), format!("\"{durability}\""));
        let root = tempfile::tempdir().unwrap();
        let values = FileValues::open_with(&FileValuesConfig::new(root.path()).durability(durability)).unwrap();
        for _ in 0..2 {
            values.put(&Digest::hash(BYTES), BYTES).unwrap();
            values.sync(&Digest::hash(BYTES)).unwrap();
        }
        assert_eq!(values.get(&Digest::hash(BYTES)).unwrap().unwrap(), BYTES);
    }
}

#[test]
fn each_handle_keeps_its_own_durability() {
    let (root, values) = values();
    let never = FileValues::open_with(&FileValuesConfig::new(root.path()).durability(Durability::Never)).unwrap();
    never.sync(&Digest::hash(b"absent")).unwrap();
    values.sync(&Digest::hash(b"absent")).unwrap_err();
}

#[test]
fn directory_that_cannot_be_created_is_named_in_the_error() {
    let (root, _values) = values();
    let file = root.path().join("file");
    fs::write(&file, b"").unwrap();
    let error = FileValues::open(file.join("values")).unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if path.starts_with(&file)), "{error}");
}

#[test]
fn failed_put_names_the_entry_in_the_error() {
    let (root, values) = values();
    let id = Digest::hash(BYTES);
    let path = file_of(root.path(), &id);
    fs::write(path.parent().unwrap(), b"in the way").unwrap();
    let error = values.put(&id, BYTES).unwrap_err();
    assert!(matches!(&error, Error::Io { path: named, .. } if *named == path), "{error}");
    assert_eq!(files(root.path()).len(), 1);
}

#[test]
fn backend_is_registered() {
    let file = backends().into_iter().find(|backend| backend.name == "file").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (values, calls) = (file.scratch)(directory.path());
    values.open().unwrap();
    calls.open().unwrap();
    assert!(file.durable);
}
