//! Helpers of the tests: files in temporary directories, records, values, and access to the tables with redb.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use fleche_core::{
    CallKey, CallStore, Digest, FunctionId, Record, ValueRef, ValueStore,
    call::{Argument, RecordFields, Timestamp, Writer},
    encoding,
    metadata::Metadata,
};
use redb::{ReadableDatabase as _, TableDefinition};
use tempfile::TempDir;

pub(crate) const RECORDS: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("records");

pub(crate) fn file() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    (directory, path)
}

/// Returns a record of the call `function(number)`, and its key.
pub(crate) fn record(function: &'static str, number: u64) -> (CallKey, Record) {
    written(function, number, 1)
}

/// Like [`record`], with another time of writing.
pub(crate) fn written(function: &'static str, number: u64, at: u64) -> (CallKey, Record) {
    let record = Record::new(RecordFields {
        function: FunctionId { name: function.into(), version: 1, code: Digest::hash(b"code"), hash_code: false },
        arguments: vec![Argument("number".into(), ValueRef::new(&encoding::to_vec(&number).unwrap()))],
        result: ValueRef::new(&noise(number, 100)),
        metadata: Metadata::default(),
        written: Timestamp(at),
        writer: Writer { host: "host".into(), process: 1, program: "program".into() },
        other: BTreeMap::new(),
    });
    (CallKey::new(&record.function, &record.arguments).unwrap(), record)
}

pub(crate) fn put_record(calls: &dyn CallStore, (key, record): &(CallKey, Record)) {
    calls.put(key, record).unwrap();
}

/// Returns this many pseudorandom bytes.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let blocks =
        (0u64..).flat_map(|block| *Digest::hash(&[seed.to_le_bytes(), block.to_le_bytes()].concat()).as_bytes());
    blocks.take(len).collect()
}

pub(crate) fn put(values: &dyn ValueStore, bytes: &[u8]) -> Digest {
    let id = Digest::hash(bytes);
    values.put(&id, bytes).unwrap();
    id
}

/// Returns the numbers and contents of the quarantined entries.
pub(crate) fn damaged(path: &Path) -> Vec<(u64, Vec<u8>)> {
    let table: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("damaged");
    let database = redb::Database::open(path).unwrap();
    let table = database.begin_read().unwrap().open_table(table).unwrap();
    let entry = |entry: Result<(redb::AccessGuard<'_, u64>, redb::AccessGuard<'_, &[u8]>), _>| {
        let (number, content) = entry.unwrap();
        (number.value(), content.value().to_vec())
    };
    table.range(0..).unwrap().map(entry).collect()
}

/// Flips a bit of the first byte of each occurrence of these bytes in the file.
pub(crate) fn flip(path: &Path, bytes: &[u8]) {
    let mut content = std::fs::read(path).unwrap();
    let places: Vec<_> = (0..content.len()).filter(|at| content[*at..].starts_with(bytes)).collect();
    assert!(!places.is_empty(), "the bytes are not in the file");
    for at in places {
        content[at] ^= 1;
    }
    std::fs::write(path, content).unwrap();
}
