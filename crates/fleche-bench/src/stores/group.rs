//! Commits that threads share: eight of them putting records into redb, beside redb alone with batches of the same size.

use std::{
    path::Path,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use fleche_core::{CallStore, ValueRef};
use fleche_store_redb::RedbCalls;
use redb::{Database, Durability};

use super::{Item, raw::TABLE, record};
use crate::{scratch, table::Row};

const THREADS: u64 = 8;

/// The rows.
pub(super) fn run(quick: bool) -> Result<Vec<Row>, String> {
    let records: u64 = if quick { 800 } else { 100_000 };
    let directory = scratch::directory()?;
    let items: Vec<_> = (0..records).map(item).collect();
    let bytes = items.first().map_or(0, |item| item.bytes.len());
    let (ours, batch) = shared(&directory.join("ours.redb"), &items)?;
    let alone = alone(&directory.join("raw.redb"), &items, batch)?;
    #[allow(clippy::cast_precision_loss)] // A hundred thousand.
    let (each, count) = (ours.as_secs_f64() / records as f64, batch as f64);
    Ok(vec![
        Row::time(format!("redb, {THREADS} threads: a record of {bytes} B"), each),
        Row::count("redb, records a commit", count),
        Row::at_least(
            "redb, rate against raw redb with the same batches",
            alone.as_secs_f64() / ours.as_secs_f64(),
            0.7,
        ),
    ])
}

/// A record of about 200 bytes.
fn item(nth: u64) -> Item {
    let mut item = Item::new(nth, 0);
    item.record = record(nth, ValueRef::of(&nth.to_le_bytes()));
    item.bytes = item.record.to_bytes(&item.key).unwrap_or_default();
    item
}

/// How long the threads take together, and how many records a commit had.
fn shared(file: &Path, items: &[Item]) -> Result<(Duration, usize), String> {
    let store = RedbCalls::open(file).map_err(|error| error.to_string())?;
    let (barrier, part) = (Barrier::new(8), items.len().div_ceil(8));
    let begun = Instant::now();
    thread::scope(|scope| {
        let one = |items| {
            let (store, barrier) = (&store, &barrier);
            scope.spawn(move || {
                barrier.wait();
                let put = |item: &Item| store.put(&item.key, &item.record).map_err(|error| error.to_string());
                <[Item]>::iter(items).try_for_each(put)
            })
        };
        let threads: Vec<_> = items.chunks(part).map(one).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| Err("a thread panicked".to_owned())))
    })?;
    let took = begun.elapsed();
    let stats = store.stats();
    Ok((took, usize::try_from(stats.operations / stats.commits.max(1)).unwrap_or(1).max(1)))
}

/// How long redb takes for the same in batches of this size.
fn alone(file: &Path, items: &[Item], batch: usize) -> Result<Duration, String> {
    let said = |error: redb::Error| error.to_string();
    let database = Database::create(file).map_err(|error| error.to_string())?;
    let begun = Instant::now();
    for batch in items.chunks(batch) {
        let one = || -> Result<(), redb::Error> {
            let mut write = database.begin_write()?;
            write.set_durability(Durability::None)?;
            {
                let mut table = write.open_table(TABLE)?;
                for item in batch {
                    table.insert(item.key.digest().as_bytes(), &*item.bytes)?;
                }
            }
            Ok(write.commit()?)
        };
        one().map_err(said)?;
    }
    Ok(begun.elapsed())
}
