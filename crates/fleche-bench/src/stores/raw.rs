//! The peers of the stores: files, and database engines used directly.

use std::{fs, hint::black_box, path::Path};

use redb::{Database, Durability, ReadableDatabase};
use rusqlite::{Connection, OptionalExtension, params};

use crate::alone::{TABLE, said};

type Put = Box<dyn Fn(&[u8; 32], &[u8]) -> Result<(), String>>;
type Get = Box<dyn Fn(&[u8; 32]) -> Result<Option<usize>, String>>;

/// A map from digests to bytes.
pub(super) struct Raw {
    put: Put,
    get: Get,
}

impl Raw {
    pub(super) fn put(&self, id: &[u8; 32], bytes: &[u8]) -> Result<(), String> {
        (self.put)(id, bytes)
    }

    /// Reads an entry, and fails if its length is not `len`.
    pub(super) fn get(&self, id: &[u8; 32], len: usize) -> Result<(), String> {
        if (self.get)(id)? == Some(len) { Ok(()) } else { Err("an entry is missing or has another length".to_owned()) }
    }
}

/// Stores each entry in a file, which is written under a temporary name and renamed.
pub(super) fn files(directory: &Path) -> Result<Raw, String> {
    fs::create_dir_all(directory).map_err(said)?;
    let (one, other) = (directory.to_owned(), directory.to_owned());
    let name = |id: &[u8; 32]| fleche_core::Digest::from_bytes(*id).to_string();
    Ok(Raw {
        put: Box::new(move |id, bytes| {
            let unfinished = one.join("unfinished");
            fs::write(&unfinished, bytes).map_err(said)?;
            fs::rename(unfinished, one.join(name(id))).map_err(said)
        }),
        get: Box::new(move |id| fs::read(other.join(name(id))).map(|bytes| Some(bytes.len())).map_err(said)),
    })
}

/// Stores each entry in a redb transaction of its own, without waiting for the disk.
pub(super) fn redb(file: &Path) -> Result<Raw, String> {
    let database = std::rc::Rc::new(Database::create(file).map_err(said)?);
    let readable = database.clone();
    Ok(Raw {
        put: Box::new(move |id, bytes| {
            let mut write = database.begin_write().map_err(said)?;
            write.set_durability(Durability::None).map_err(said)?;
            write.open_table(TABLE).map_err(said)?.insert(id, bytes).map_err(said)?;
            write.commit().map_err(said)
        }),
        get: Box::new(move |id| {
            let read = readable.begin_read().map_err(said)?;
            let found = read.open_table(TABLE).map_err(said)?.get(id).map_err(said)?;
            Ok(found.map(|bytes| black_box(bytes.value().to_vec()).len()))
        }),
    })
}

/// Stores each entry in sled's default tree, without waiting for the disk.
pub(super) fn sled(directory: &Path) -> Result<Raw, String> {
    let database = sled::open(directory).map_err(said)?;
    let readable = database.clone();
    Ok(Raw {
        put: Box::new(move |id, bytes| database.insert(id, bytes).map(drop).map_err(said)),
        get: Box::new(move |id| Ok(readable.get(id).map_err(said)?.map(|bytes| black_box(bytes.to_vec()).len()))),
    })
}

/// Stores each entry with one SQLite statement, with the journal mode and durability of fleche's store.
pub(super) fn sqlite(file: &Path) -> Result<Raw, String> {
    let connection = Connection::open(file).map_err(said)?;
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; CREATE TABLE entries (id BLOB PRIMARY KEY, bytes BLOB)",
        )
        .map_err(said)?;
    let connection = std::rc::Rc::new(connection);
    let readable = connection.clone();
    Ok(Raw {
        put: Box::new(move |id, bytes| {
            let mut insert =
                connection.prepare_cached("INSERT OR REPLACE INTO entries VALUES (?1, ?2)").map_err(said)?;
            insert.execute(params![id, bytes]).map(drop).map_err(said)
        }),
        get: Box::new(move |id| {
            let mut select = readable.prepare_cached("SELECT bytes FROM entries WHERE id = ?1").map_err(said)?;
            let found = select.query_row(params![id], |row| row.get::<_, Vec<u8>>(0)).optional();
            Ok(found.map_err(said)?.map(|bytes| bytes.len()))
        }),
    })
}
