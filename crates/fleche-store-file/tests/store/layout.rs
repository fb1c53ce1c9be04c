//! Tests of the layout of a store's directory.

use std::fs;

use super::common::{calls, file_of, files, key, record, values};
use fleche_core::{CallStore, Digest, DigestPrefix, ValueStore};
use fleche_store_file::{FileCalls, FileValues};

#[test]
fn value_file_holds_exactly_its_bytes() {
    let (root, values) = values();
    let id = Digest::hash(b"");
    values.put(&id, b"").unwrap();
    assert_eq!(files(root.path()), ["af/1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"]);
    let id = Digest::hash(b"bytes");
    values.put(&id, b"bytes").unwrap();
    assert_eq!(fs::read(file_of(root.path(), &id)).unwrap(), b"bytes");
    assert_eq!(values.get(&id).unwrap().unwrap(), &b"bytes"[..]);
}

#[test]
fn record_file_holds_the_bytes_of_the_record_format() {
    let (root, calls) = calls();
    calls.put(&key(1), &record(b"r")).unwrap();
    assert_eq!(fs::read(file_of(root.path(), key(1).digest())).unwrap(), record(b"r").to_bytes(&key(1)).unwrap());
}

#[test]
fn foreign_files_are_neither_listed_nor_removed() {
    let (root, values) = values();
    let id = Digest::hash(b"bytes");
    values.put(&id, b"bytes").unwrap();
    let shard = file_of(root.path(), &id).parent().unwrap().to_owned();
    let upper = format!("{:A<62}", "");
    let foreign = ["note.txt", "0123", ".hidden", ".tmp-", ".tmp-mine", ".trash-a-b-c-d", &upper];
    for name in foreign {
        fs::write(shard.join(name), b"foreign").unwrap();
        fs::write(root.path().join(name), b"foreign").unwrap();
    }
    fs::create_dir(shard.join(format!("{:0<62}", ""))).unwrap();
    let other_shard = if id.to_string().starts_with("00") { "01" } else { "00" };
    fs::write(root.path().join(other_shard), b"foreign").unwrap();

    let listed: Vec<_> = values.ids(&DigestPrefix::all()).unwrap().map(Result::unwrap).collect();
    assert_eq!(listed, [id]);
    assert_eq!(files(root.path()).len(), 2 * foreign.len() + 2);
}

#[test]
fn prefix_of_any_length_lists_matching_ids() {
    let (_root, values) = values();
    let ids: Vec<_> = (0..200_u32).map(|number| Digest::hash(&number.to_le_bytes())).collect();
    for number in 0..200_u32 {
        values.put(&ids[number as usize], &number.to_le_bytes()).unwrap();
    }
    for digits in [0, 1, 2, 3, 64] {
        let prefix: DigestPrefix = ids[7].to_string()[..digits].parse().unwrap();
        let listed: Vec<_> = values.ids(&prefix).unwrap().map(Result::unwrap).collect();
        let mut expected = ids.clone();
        expected.retain(|id| prefix.matches(id));
        expected.sort_unstable();
        assert!(listed == expected, "{digits} digits");
    }
}

#[test]
fn entries_can_be_put_and_removed_while_listing() {
    let (_root, values) = values();
    for number in 0..300_u32 {
        values.put(&Digest::hash(&number.to_le_bytes()), &number.to_le_bytes()).unwrap();
    }
    let removed = values.ids(&DigestPrefix::all()).unwrap().filter(|id| {
        values.put(&Digest::hash(b"new"), b"new").unwrap();
        let id = id.as_ref().unwrap();
        *id != Digest::hash(b"new") && values.remove(id, None).unwrap()
    });
    assert_eq!(removed.count(), 300);
}

#[test]
fn values_and_records_do_not_share_a_directory() {
    let (root, _values) = values();
    let error = FileCalls::open(root.path()).unwrap_err().to_string();
    assert!(error.contains("holds values") && error.contains(root.path().to_str().unwrap()), "{error}");
    FileValues::open(root.path()).unwrap();
}

#[test]
fn removed_directory_is_created_again_by_the_next_put() {
    let (root, values) = values();
    fs::remove_dir_all(root.path()).unwrap();
    let id = Digest::hash(b"bytes");
    assert_eq!(values.get(&id).unwrap(), None);
    values.put(&id, b"bytes").unwrap();
    assert_eq!(values.get(&id).unwrap().unwrap(), &b"bytes"[..]);
}

#[test]
fn new_directory_is_not_the_store_of_a_removed_one() {
    // File systems reuse the inode numbers of removed directories.
    let above = tempfile::tempdir().unwrap();
    let first = FileValues::open(above.path().join("first")).unwrap();
    fs::remove_dir_all(first.root()).unwrap();
    let second = FileValues::open(above.path().join("second")).unwrap();
    assert_eq!(second.root(), above.path().join("second"));
}

#[test]
fn moved_directory_is_the_same_store() {
    let (root, values) = values();
    let id = Digest::hash(b"bytes");
    values.put(&id, b"bytes").unwrap();
    let moved = root.path().with_extension("moved");
    fs::rename(root.path(), &moved).unwrap();
    drop(values);
    let values = FileValues::open(&moved).unwrap();
    assert_eq!(values.get(&id).unwrap().unwrap(), &b"bytes"[..]);
    fs::rename(&moved, root.path()).unwrap();
}
