//! A named pipe in the place of an entry does not block the store.

use fleche_core::{Digest, Error, ValueStore};
use fleche_store_file::FileValues;
use nix::{sys::stat::Mode, unistd::mkfifo};

#[test]
fn pipe_in_place_of_an_entry_fails_without_blocking() {
    let root = tempfile::tempdir().unwrap();
    let values = FileValues::open(root.path()).unwrap();
    let id = Digest::of(b"bytes");
    let (shard, name) = (&id.to_string()[..2], &id.to_string()[2..]);
    std::fs::create_dir(root.path().join(shard)).unwrap();
    mkfifo(&root.path().join(shard).join(name), Mode::S_IRWXU).unwrap();
    assert!(matches!(values.get(&id), Err(Error::Io { .. })));
    values.put(&id, b"bytes").unwrap();
    assert_eq!(values.get(&id).unwrap().as_deref(), Some(&b"bytes"[..]));
}
