//! The peers of the stores: plain files, and database engines used directly.

use std::{
    cell::Cell,
    fs,
    hint::black_box,
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use fleche_core::{
    CallKey, Digest, FunctionId, Record, ValueRef,
    call::{RecordFields, Timestamp, Writer},
    metadata::Metadata,
};
use redb::{Database, Durability, ReadableDatabase, TableDefinition};
use rusqlite::{Connection, OptionalExtension, params};

/// The single table of a peer's redb database, which maps digests to bytes.
pub(crate) const TABLE: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("entries");

/// Returns the error's message.
#[allow(clippy::needless_pass_by_value)] // `map_err` passes errors by value.
pub(crate) fn message(error: impl ToString) -> String {
    error.to_string()
}

/// A call with a result of a given size.
pub(crate) struct Item {
    pub(crate) key: CallKey,
    pub(crate) record: Record,
    pub(crate) value: Vec<u8>,
    /// The encoded record.
    pub(crate) bytes: Vec<u8>,
}

impl Item {
    pub(crate) fn new(nth: u64, size: usize) -> Self {
        // The bytes are unique to this item and hardly compressible.
        let mut value = Vec::with_capacity(size);
        let mut block = *Digest::hash(&nth.to_le_bytes()).as_bytes();
        while value.len() < size {
            value.extend_from_slice(&block[..block.len().min(size - value.len())]);
            block.rotate_left(1);
            block[0] = block[0].wrapping_add(1);
        }
        let record = record(nth, ValueRef::new(&value));
        let key = CallKey::from(Digest::hash(&[&nth.to_le_bytes()[..], &size.to_le_bytes()].concat()));
        let bytes = record.to_bytes(&key).unwrap_or_default();
        Self { key, record, value, bytes }
    }
}

/// Measures an operation on each of these items.
pub(crate) fn timed(items: &[Item], one: impl Fn(&Item) -> Result<(), String>) -> Result<Duration, String> {
    let begun = Instant::now();
    items.iter().try_for_each(one)?;
    Ok(begun.elapsed())
}

/// Returns the record of a trivial call.
pub(crate) fn record(nth: u64, result: ValueRef) -> Record {
    Record::new(RecordFields {
        function: FunctionId { name: "bench::f".into(), version: 1, code: Digest::hash(b"code"), hash_code: false },
        arguments: Vec::new(),
        result,
        metadata: Metadata::default(),
        written: Timestamp(nth),
        writer: Writer { host: "host".into(), process: 1, program: "bench".into() },
        other: std::collections::BTreeMap::new(),
    })
}

type Put = Box<dyn Fn(&[u8; 32], &[u8]) -> Result<(), String>>;
type Get = Box<dyn Fn(&[u8; 32]) -> Result<Option<usize>, String>>;

/// A map from digests to bytes.
pub(crate) struct Raw {
    put: Put,
    get: Get,
}

impl Raw {
    pub(crate) fn put(&self, id: &[u8; 32], bytes: &[u8]) -> Result<(), String> {
        (self.put)(id, bytes)
    }

    /// Reads an entry, and fails if its length is not `len`.
    pub(crate) fn get(&self, id: &[u8; 32], len: usize) -> Result<(), String> {
        if (self.get)(id)? == Some(len) { Ok(()) } else { Err("an entry is missing or has another length".to_owned()) }
    }
}

/// Stores each entry in a file, which is written under a temporary name and renamed.
pub(crate) fn files(directory: &Path) -> Result<Raw, String> {
    fs::create_dir_all(directory).map_err(message)?;
    let (one, other) = (directory.to_owned(), directory.to_owned());
    let name = |id: &[u8; 32]| fleche_core::Digest::from_bytes(*id).to_string();
    Ok(Raw {
        put: Box::new(move |id, bytes| {
            let unfinished = one.join("unfinished");
            fs::write(&unfinished, bytes).map_err(message)?;
            fs::rename(unfinished, one.join(name(id))).map_err(message)
        }),
        get: Box::new(move |id| fs::read(other.join(name(id))).map(|bytes| Some(bytes.len())).map_err(message)),
    })
}

/// Stores each entry in a redb transaction of its own, without waiting for the disk.
pub(crate) fn redb(file: &Path) -> Result<Raw, String> {
    let database = std::rc::Rc::new(Database::create(file).map_err(message)?);
    let readable = database.clone();
    Ok(Raw {
        put: Box::new(move |id, bytes| {
            let mut write = database.begin_write().map_err(message)?;
            write.set_durability(Durability::None).map_err(message)?;
            write.open_table(TABLE).map_err(message)?.insert(id, bytes).map_err(message)?;
            write.commit().map_err(message)
        }),
        get: Box::new(move |id| {
            let read = readable.begin_read().map_err(message)?;
            let found = read.open_table(TABLE).map_err(message)?.get(id).map_err(message)?;
            Ok(found.map(|bytes| black_box(bytes.value().to_vec()).len()))
        }),
    })
}

/// Stores each entry in sled's default tree, without waiting for the disk.
pub(crate) fn sled(directory: &Path) -> Result<Raw, String> {
    let database = sled::open(directory).map_err(message)?;
    let readable = database.clone();
    Ok(Raw {
        put: Box::new(move |id, bytes| database.insert(id, bytes).map(drop).map_err(message)),
        get: Box::new(move |id| Ok(readable.get(id).map_err(message)?.map(|bytes| black_box(bytes.to_vec()).len()))),
    })
}

/// Stores each entry with one SQLite statement, with the journal mode and durability of fleche's store.
pub(crate) fn sqlite(file: &Path) -> Result<Raw, String> {
    let connection = Connection::open(file).map_err(message)?;
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; CREATE TABLE entries (id BLOB PRIMARY KEY, bytes BLOB)",
        )
        .map_err(message)?;
    let connection = std::rc::Rc::new(connection);
    let readable = connection.clone();
    Ok(Raw {
        put: Box::new(move |id, bytes| {
            let mut insert =
                connection.prepare_cached("INSERT OR REPLACE INTO entries VALUES (?1, ?2)").map_err(message)?;
            insert.execute(params![id, bytes]).map(drop).map_err(message)
        }),
        get: Box::new(move |id| {
            let mut select = readable.prepare_cached("SELECT bytes FROM entries WHERE id = ?1").map_err(message)?;
            let found = select.query_row(params![id], |row| row.get::<_, Vec<u8>>(0)).optional();
            Ok(found.map_err(message)?.map(|bytes| bytes.len()))
        }),
    })
}

/// The content of a file, about as long as the record of a trivial call.
const RECORD: [u8; 400] = [7; 400];

/// The number of directories over which the file store distributes its entries.
const SHARDS: i64 = 256;

/// Files in as many directories as the file store uses, since the speed of creating files depends on it.
///
/// They stay from round to round.
pub(crate) struct Files {
    below: PathBuf,
    written: Cell<i64>,
}

impl Files {
    /// Creates the subdirectory `plain` of a directory, which may contain other files.
    pub(crate) fn new(directory: &Path) -> Result<Self, String> {
        let below = directory.join("plain");
        let make = |shard| fs::create_dir_all(below.join(format!("{shard:02x}")));
        (0..SHARDS).try_for_each(make).map_err(|error| format!("cannot create a directory for files: {error}"))?;
        Ok(Self { below, written: Cell::new(0) })
    }

    /// Measures writing this many new files one after the other, each under a temporary name that is then renamed.
    pub(crate) fn write(&self, files: i64) -> Result<Duration, String> {
        let from = self.written.replace(self.written.get() + files);
        let write = || -> io::Result<Duration> {
            let begun = Instant::now();
            for file in from..from + files {
                let whole = self.path(file);
                let unfinished = whole.with_extension("new");
                fs::write(&unfinished, RECORD)?;
                fs::rename(unfinished, whole)?;
            }
            Ok(begun.elapsed())
        };
        write().map_err(|error| format!("cannot write files: {error}"))
    }

    /// Measures reading this many of the files that were written last.
    pub(crate) fn read(&self, files: i64) -> Result<Duration, String> {
        let end = self.written.get();
        let begun = Instant::now();
        for file in end - files..end {
            let read = fs::read(self.path(file)).map_err(|error| format!("cannot read a file: {error}"))?;
            if read != RECORD {
                return Err("a file does not contain what was written".to_owned());
            }
        }
        Ok(begun.elapsed())
    }

    fn path(&self, file: i64) -> PathBuf {
        self.below.join(format!("{:02x}/{file:062x}", file % SHARDS))
    }
}
