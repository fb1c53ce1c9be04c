//! Tests of `Compressed`. What all layers guarantee is tested by the conformance suite.

use fleche_core::{
    Digest, Error, ValueStore,
    layer::{Compressed, CompressedConfig},
    store::ValueStoreConfig,
};
use fleche_store_file::{FileValues, FileValuesConfig};
use fleche_store_memory::MemoryValues;

/// Stores a value through a compressing layer. Returns the inner store, the layer and the value's id.
fn compressed(value: &[u8]) -> (MemoryValues, Compressed<MemoryValues>, Digest) {
    let (store, id) = (MemoryValues::new(), Digest::hash(value));
    let compressed = Compressed::new(store.clone());
    compressed.put(&id, value).unwrap();
    (store, compressed, id)
}

/// Returns the stored form of the value.
fn form(store: &MemoryValues, id: &Digest) -> Vec<u8> {
    store.read(id, &Ok).unwrap().unwrap().to_vec()
}

#[test]
fn repetitive_value_takes_less_space_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let value = b"again and again ".repeat(10_000);
    let id = Digest::hash(&value);
    let store = Compressed::new(FileValues::open(directory.path()).unwrap());
    store.put(&id, &value).unwrap();
    assert_eq!(store.get(&id).unwrap().as_deref(), Some(&*value));
    let name = id.to_string();
    let kept = std::fs::metadata(directory.path().join(&name[..2]).join(&name[2..])).unwrap().len();
    assert!(kept < 1_000, "{kept} bytes");
}

#[test]
fn uncompressed_values_stay_readable() {
    let (store, value) = (MemoryValues::new(), b"plain".as_slice());
    store.put(&Digest::hash(value), value).unwrap();
    assert_eq!(Compressed::new(store).get(&Digest::hash(value)).unwrap().as_deref(), Some(value));
}

#[test]
fn nested_compression_is_decompressed() {
    let value = b"again and again ".repeat(1_000);
    let id = Digest::hash(&value);
    let twice = Compressed::new(Compressed::new(MemoryValues::new()));
    twice.put(&id, &value).unwrap();
    assert_eq!(twice.get(&id).unwrap().as_deref(), Some(&*value));
}

#[test]
fn truncated_or_changed_frame_is_reported_as_damaged() {
    let cut: fn(&mut Vec<u8>) = |form| form.truncate(form.len() / 2);
    let change: fn(&mut Vec<u8>) = |form| form[10] ^= 1;
    for harm in [cut, change] {
        let (store, compressed, id) = compressed(&b"0123456789".repeat(20));
        let mut harmed = form(&store, &id);
        harm(&mut harmed);
        store.put(&id, &harmed).unwrap();
        let found = compressed.get(&id);
        assert!(matches!(found, Err(Error::Damaged { .. })), "{found:?}");
        assert_eq!(compressed.get(&id).unwrap(), None);
    }
}

#[test]
fn value_much_longer_than_its_frame_is_read() {
    let value = vec![0; 30_000_000];
    let (store, compressed, id) = compressed(&value);
    assert!(form(&store, &id).len() * 1000 < value.len());
    assert!(compressed.get(&id).unwrap().is_some_and(|found| found == value));
}

#[test]
fn decompression_bomb_is_refused() {
    let (bomb, _, id) = compressed(&vec![0; 30_000_000]);
    let (store, compressed, other) = compressed(b"another");
    store.put(&other, &form(&bomb, &id)).unwrap();
    let error = compressed.get(&other).unwrap_err();
    assert!(error.to_string().contains("another digest"), "{error}");
}

#[test]
fn invalid_level_is_refused() {
    let store: Box<dyn ValueStoreConfig> = Box::new(FileValuesConfig::new(tempfile::tempdir().unwrap().path()));
    for level in [0, 23, -1] {
        let error = CompressedConfig { store: store.clone(), level }.open().unwrap_err();
        assert!(error.to_string().contains(&format!("{level}; levels go from 1 to 22")), "{error}");
    }
}
