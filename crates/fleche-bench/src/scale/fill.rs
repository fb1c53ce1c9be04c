//! Fills stores with very many records, and reads the memory use of this process.

use std::{collections::BTreeMap, fs, path::Path, thread};

use fleche_core::{
    CallKey, CallStore, Digest, FunctionId, Record, ValueRef,
    call::{Argument, RecordFields, Timestamp, Writer},
    encoding, fleche,
    metadata::Metadata,
};
use rusqlite::{Connection, params};

use crate::peers::{TABLE, message};

/// The name of the function whose calls are recorded.
pub(super) const FUNCTION: &str = "bench::many";

/// The function whose calls are recorded, each with one of ten kinds.
#[fleche(name = "bench::many", version = 1)]
pub(super) fn many(nth: u64, kind: u64) -> u64 {
    nth + kind
}

pub(super) fn kind_of(nth: u64) -> u64 {
    nth % 10
}

const THREADS: u8 = 2;

fn function() -> FunctionId {
    FunctionId { name: FUNCTION.into(), version: 1, code: Digest::hash(b"code"), hash_code: false }
}

/// Returns the arguments of a call: a number of its own, and a kind that many calls share.
fn arguments(nth: u64) -> Result<Vec<Argument>, String> {
    let argument = |name: &'static str, value: u64| -> Result<Argument, String> {
        let encoded = encoding::to_vec(&value).map_err(|error| error.to_string())?;
        Ok(Argument(name.into(), ValueRef::new(&encoded)))
    };
    Ok(vec![argument("nth", nth)?, argument("kind", kind_of(nth))?])
}

/// Returns the key of a call.
pub(super) fn key(nth: u64) -> Result<CallKey, String> {
    CallKey::new(&function(), &arguments(nth)?).map_err(|error| error.report().to_string())
}

fn record(nth: u64) -> Result<(CallKey, Record), String> {
    let record = Record::new(RecordFields {
        function: function(),
        arguments: arguments(nth)?,
        result: ValueRef::new(&encoding::to_vec(&(nth + kind_of(nth))).map_err(|error| error.to_string())?),
        metadata: Metadata::default(),
        written: Timestamp(nth),
        writer: Writer { host: "host".into(), process: 1, program: "bench".into() },
        other: BTreeMap::new(),
    });
    Ok((CallKey::new(&record.function, &record.arguments).map_err(|error| error.report().to_string())?, record))
}

/// Puts the records through the store's interface, from two threads.
pub(super) fn by_the_store(store: &dyn CallStore, records: u64) -> Result<(), String> {
    let put = |nth| -> Result<(), String> {
        let (key, record) = record(nth)?;
        store.put(&key, &record).map_err(|error| error.report().to_string())
    };
    thread::scope(|scope| {
        let part = |thread| scope.spawn(move || (thread..records).step_by(THREADS.into()).try_for_each(put));
        let threads: Vec<_> = (0..THREADS.into()).map(part).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| Err("a thread panicked".to_owned())))
    })
}

/// Puts the same records into a redb database without fleche, in one transaction.
pub(super) fn raw_redb(file: &Path, records: u64) -> Result<redb::Database, String> {
    let database = redb::Database::create(file).map_err(message)?;
    let encoded = |nth| -> Result<(CallKey, Vec<u8>), String> {
        let (key, record) = record(nth)?;
        let bytes = record.to_bytes(&key).map_err(message)?;
        Ok((key, bytes))
    };
    let write = database.begin_write().map_err(message)?;
    {
        let mut table = write.open_table(TABLE).map_err(message)?;
        for nth in 0..records {
            let (key, bytes) = encoded(nth)?;
            table.insert(key.digest().as_bytes(), &*bytes).map_err(message)?;
        }
    }
    write.commit().map_err(message)?;
    Ok(database)
}

/// Puts the first record through the store, and writes the rows of the others directly, in one transaction.
///
/// Putting all of them through the store would take minutes. The searches of the benchmark show that the store finds them.
pub(super) fn sqlite(store: &dyn CallStore, file: &Path, records: u64) -> Result<(), String> {
    let (key, first) = record(0)?;
    store.put(&key, &first).map_err(|error| error.report().to_string())?;
    let mut connection = Connection::open(file).map_err(|error| error.to_string())?;
    let insert = |connection: &mut Connection| -> rusqlite::Result<()> {
        let transaction = connection.transaction()?;
        {
            let mut calls = transaction.prepare(
                "INSERT INTO fleche_calls (key, function, version, written, record) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?;
            let mut arguments =
                transaction.prepare("INSERT INTO fleche_arguments (call, name, reference) VALUES (?1, ?2, ?3)")?;
            for nth in 1..records {
                let failed = |error: String| rusqlite::Error::ToSqlConversionFailure(error.into());
                let (key, record) = record(nth).map_err(failed)?;
                let bytes = record.to_bytes(&key).map_err(|error| failed(error.to_string()))?;
                let moment = i64::try_from(nth).unwrap_or(i64::MAX);
                calls.execute(params![key.digest().as_bytes(), FUNCTION.as_bytes(), 1, moment, bytes])?;
                let call = transaction.last_insert_rowid();
                for Argument(name, reference) in &record.arguments {
                    let reference = encoding::to_vec(reference).map_err(|error| failed(error.to_string()))?;
                    arguments.execute(params![call, name.as_bytes(), reference])?;
                }
            }
        }
        transaction.commit()
    };
    insert(&mut connection).map_err(|error| error.to_string())
}

/// Returns the resident memory in MiB, or zero on systems other than Linux.
pub(super) fn resident() -> Result<f64, String> {
    if cfg!(not(target_os = "linux")) {
        return Ok(0.0);
    }
    let status =
        fs::read_to_string("/proc/self/status").map_err(|error| format!("cannot read /proc/self/status: {error}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kib.map(|kib| kib / 1024.0).ok_or_else(|| "/proc/self/status has no readable `VmRSS` line".to_owned())
}
