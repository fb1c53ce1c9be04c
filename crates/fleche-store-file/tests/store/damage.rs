//! Tests of entries whose content does not match their name.

use std::{fs, path::Path};

use super::common::{calls, file_of, files, key, record, values};
use fleche_core::{CallStore, Digest, DigestPrefix, Error, Query, ValueStore};
use fleche_store_file::FileValues;

const BYTES: &[u8] = b"some bytes";

fn with_damage(damage: &[u8]) -> (tempfile::TempDir, FileValues, Digest) {
    let (root, values) = values();
    let id = Digest::hash(BYTES);
    values.put(&id, BYTES).unwrap();
    fs::write(file_of(root.path(), &id), damage).unwrap();
    (root, values, id)
}

fn quarantine(root: &Path) -> Vec<String> {
    files(root).into_iter().filter(|path| path.starts_with("damaged/")).collect()
}

#[test]
fn damaged_value_is_reported_once_and_quarantined_unchanged() {
    for damage in [&b"some"[..], b"", b"some bytez", b"some bytes and more"] {
        let (root, values, id) = with_damage(damage);
        let error = values.get(&id).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
        let [aside] = &quarantine(root.path())[..] else { panic!("expected one quarantined file") };
        for path in [file_of(root.path(), &id), root.path().join(aside)] {
            assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        }
        assert_eq!(fs::read(root.path().join(aside)).unwrap(), damage);
        assert_eq!(values.get(&id).unwrap(), None);
        assert!(!values.contains(&id).unwrap());
        assert_eq!(values.ids(&DigestPrefix::all()).unwrap().count(), 0);
    }
}

#[test]
fn value_can_be_put_again_after_damage() {
    let (_root, values, id) = with_damage(b"other bytes");
    values.get(&id).unwrap_err();
    values.put(&id, BYTES).unwrap();
    assert_eq!(values.get(&id).unwrap().unwrap(), BYTES);
}

#[test]
fn repeated_damage_keeps_every_damaged_file() {
    let (root, values, id) = with_damage(b"1");
    values.get(&id).unwrap_err();
    values.put(&id, BYTES).unwrap();
    fs::write(file_of(root.path(), &id), b"2").unwrap();
    values.get(&id).unwrap_err();
    assert_eq!(quarantine(root.path()).len(), 2);
}

#[test]
fn damaged_value_that_cannot_be_quarantined_is_never_returned() {
    let (root, values, id) = with_damage(b"other bytes");
    fs::write(root.path().join("damaged"), b"in the way").unwrap();
    for _ in 0..2 {
        let error = values.get(&id).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("cannot be moved"), "{error}");
    }
}

#[test]
fn swapped_records_are_reported_as_damaged() {
    let (root, calls) = calls();
    for number in [1, 2] {
        calls.put(&key(number), &record(b"r")).unwrap();
    }
    let [one, two] = [1, 2].map(|number| file_of(root.path(), key(number).digest()));
    fs::copy(&one, &two).unwrap();
    assert!(matches!(calls.get(&key(2)).unwrap_err(), Error::Damaged { .. }));
    assert_eq!(calls.get(&key(2)).unwrap(), None);
    assert_eq!(calls.get(&key(1)).unwrap(), Some(record(b"r")));
}

#[test]
fn record_with_any_byte_flipped_is_reported_as_damaged() {
    let (root, calls) = calls();
    let bytes = record(b"r").to_bytes(&key(1)).unwrap();
    calls.put(&key(1), &record(b"r")).unwrap();
    for position in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[position] ^= 1;
        fs::write(file_of(root.path(), key(1).digest()), flipped).unwrap();
        assert!(matches!(calls.get(&key(1)).unwrap_err(), Error::Damaged { .. }));
    }
}

#[test]
fn search_continues_after_a_damaged_record() {
    let (root, calls) = calls();
    for number in 0..20 {
        calls.put(&key(number), &record(b"r")).unwrap();
    }
    fs::write(file_of(root.path(), key(7).digest()), b"damaged").unwrap();
    let query = Query::new();
    let (whole, damaged): (Vec<_>, Vec<_>) = calls.find(&query).unwrap().partition(Result::is_ok);
    assert_eq!((whole.len(), damaged.len()), (19, 1));
}

#[test]
fn sparse_huge_file_is_an_error() {
    let (root, values, id) = with_damage(b"");
    let path = file_of(root.path(), &id);
    // A sparse file takes no space. Not every file system supports this length.
    let file = fs::File::options().write(true).open(&path).unwrap();
    if [1 << 50, 1 << 43].into_iter().any(|length| file.set_len(length).is_ok()) {
        let error = values.get(&id).unwrap_err();
        assert!(matches!(&error, Error::Io { path: named, .. } if *named == path), "{error}");
    }
}

#[test]
fn directory_in_place_of_an_entry_is_an_error_and_stays() {
    let (root, values) = values();
    let id = Digest::hash(BYTES);
    let path = file_of(root.path(), &id);
    fs::create_dir_all(&path).unwrap();
    let is_io = |error: &Error| matches!(error, Error::Io { path: named, .. } if *named == path);
    assert!(is_io(&values.get(&id).unwrap_err()));
    assert!(is_io(&values.put(&id, BYTES).unwrap_err()));
    assert!(is_io(&values.remove(&id, None).unwrap_err()));
    assert!(is_io(&values.remove(&id, Some(std::time::Duration::ZERO)).unwrap_err()));
    assert!(!values.contains(&id).unwrap());
    assert!(path.is_dir());
    assert_eq!(files(root.path()), [""; 0]);
}
