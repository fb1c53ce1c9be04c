//! Measures the SQL stores beside what a program without fleche would write by hand: SQLite beside the same rows in the
//! same tables, and PostgreSQL, if `cargo xtask postgres` runs a server, beside a query of a constant.

use std::{
    cell::{Cell, RefCell},
    env,
    path::Path,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use fleche_core::{CallStore, Digest, ValueStore};
use fleche_store_sql::{SqlCalls, SqlCallsConfig, SqlValues, SqlValuesConfig};
use rusqlite::{Connection, params};
use tokio_postgres::NoTls;

use crate::{
    measure::{Measure, medians, scratch_directory},
    peers::{Item, message, timed},
    table::Row,
};

const THREADS: usize = 8;

/// Compares a miss with one thread that writes the same rows by hand, and eight threads with one; returns the rows.
pub(super) fn run_sqlite(quick: bool) -> Result<Vec<Row>, String> {
    let directory = scratch_directory()?;
    let count: u32 = if quick { 100 } else { 2_000 };
    let url = format!("sqlite:{}", directory.join("ours.db").display());
    let calls = SqlCalls::open(url).map_err(message)?;
    let by_hand = by_hand(&directory.join("raw.db"))?;
    let next = Cell::new(0);
    let fresh = || {
        let from = next.replace(next.get() + u64::from(count));
        (from..next.get()).map(|nth| Item::new(nth, 64)).collect::<Vec<_>>()
    };
    let put = |item: &Item| calls.put(&item.key, &item.record).map_err(message);
    let mut measures: Vec<Measure<'_>> = vec![
        Box::new(|| timed(&fresh(), put)),
        Box::new(|| timed(&fresh(), |item| write_by_hand(&by_hand, item))),
        Box::new(|| of_threads(&fresh(), put)),
    ];
    let times = medians(if quick { 1 } else { 5 }, &mut measures)?;
    let each = |at: usize| times[at].as_secs_f64() / f64::from(count);
    Ok(vec![
        Row::against("sqlite, a record of a miss", each(0), ("the same rows by hand", each(1)), 2.0),
        Row::against(format!("sqlite, {THREADS} threads: a record"), each(2), ("one thread", each(0)), None),
    ])
}

/// Returns a connection to a database with fleche's tables, with the durability of fleche's store.
fn by_hand(file: &Path) -> Result<Connection, String> {
    SqlCalls::open(format!("sqlite:{}", file.display())).map_err(message)?;
    let connection = Connection::open(file).map_err(message)?;
    let settings = "PRAGMA synchronous = NORMAL; PRAGMA cache_size = -16384; PRAGMA wal_autocheckpoint = 4000";
    connection.execute_batch(settings).map_err(message)?;
    Ok(connection)
}

/// Writes the rows of a record in one transaction.
fn write_by_hand(connection: &Connection, item: &Item) -> Result<(), String> {
    let key = item.key.digest().as_bytes();
    let function = &item.record.function;
    let write = || -> rusqlite::Result<()> {
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let put = "INSERT INTO fleche_calls (key, function, version, written, record) VALUES (?1, ?2, ?3, ?4, ?5)
            ON CONFLICT (key) DO UPDATE SET function = excluded.function, version = excluded.version,
                written = excluded.written, record = excluded.record";
        let version = i64::try_from(function.version).unwrap_or(0);
        let written = i64::try_from(item.record.written.0).unwrap_or(0);
        let put = connection.prepare_cached(put)?.execute(params![
            key,
            function.name.as_bytes(),
            version,
            written,
            item.bytes
        ]);
        put?;
        let fields = "DELETE FROM fleche_metadata WHERE call = (SELECT number FROM fleche_calls WHERE key = ?1)";
        connection.prepare_cached(fields)?.execute(params![key])?;
        connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    };
    write().map_err(message)
}

/// Measures several threads that put a part of the items each.
fn of_threads(items: &[Item], put: impl Fn(&Item) -> Result<(), String> + Sync) -> Result<Duration, String> {
    let (put, barrier) = (&put, &Barrier::new(THREADS));
    let begun = Instant::now();
    thread::scope(|scope| {
        let parts = items.chunks(items.len().div_ceil(THREADS));
        let threads = parts.map(|part| {
            scope.spawn(move || {
                barrier.wait();
                part.iter().try_for_each(put)
            })
        });
        let threads: Vec<_> = threads.collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| Err("a thread panicked".to_owned())))
    })?;
    Ok(begun.elapsed())
}

/// Compares a hit and a miss with a query of a constant, whose statement is prepared; returns the rows, or none without
/// a server.
pub(super) fn run_postgres(quick: bool) -> Result<Vec<Row>, String> {
    let Ok(url) = env::var("FLECHE_POSTGRES") else { return Ok(Vec::new()) };
    let count: u32 = if quick { 20 } else { 1_000 };
    let schema = format!("bench_{}", &Digest::hash(&std::process::id().to_le_bytes()).to_string()[..32]);
    let values = SqlValues::open_with(&SqlValuesConfig::new(url.clone()).schema(schema.clone())).map_err(message)?;
    let calls = SqlCalls::open_with(&SqlCallsConfig::new(url.clone()).schema(schema)).map_err(message)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(message)?;
    let (client, connection) = runtime.block_on(tokio_postgres::connect(&url, NoTls)).map_err(message)?;
    runtime.spawn(async move { drop(connection.await) });
    let constant = runtime.block_on(client.prepare("SELECT 1")).map_err(message)?;
    let (next, items) = (Cell::new(0), RefCell::new(Vec::new()));
    let ask = || -> Result<(), String> { runtime.block_on(client.query(&constant, &[])).map(drop).map_err(message) };
    let mut measures: Vec<Measure<'_>> = vec![
        Box::new(|| {
            let from = next.replace(next.get() + u64::from(count));
            *items.borrow_mut() = (from..next.get()).map(|nth| Item::new(nth, 4_096)).collect();
            timed(&items.borrow(), |item| {
                item.record.result.stored().map_or(Ok(()), |id| values.put(id, &item.value)).map_err(message)?;
                calls.put(&item.key, &item.record).map_err(message)
            })
        }),
        Box::new(|| {
            timed(&items.borrow(), |item| {
                calls.summary(&item.key).map_err(message)?.ok_or("a record that was put is missing")?;
                let value = item.record.result.stored().map(|id| values.get(id)).transpose().map_err(message)?;
                value.map_or(Ok(()), |value| value.map(drop).ok_or("a value that was put is missing".to_owned()))
            })
        }),
        Box::new(|| timed(&items.borrow(), |_| ask())),
    ];
    let times = medians(if quick { 1 } else { 5 }, &mut measures)?;
    let each = |at: usize| times[at].as_secs_f64() / f64::from(count);
    let peer = || ("`SELECT 1`, prepared", each(2));
    Ok(vec![
        Row::against("postgres, 4 KB, hit", each(1), peer(), None),
        Row::against("postgres, 4 KB, miss", each(0), peer(), None),
    ])
}
