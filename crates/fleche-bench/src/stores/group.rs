//! Measures shared commits: eight threads put records into the redb store, compared with redb alone.
//!
//! Redb alone commits batches of the same size with the same durability.

use std::{
    path::Path,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use fleche_core::{CallStore, ValueRef};
use fleche_store_redb::{CommitStats, RedbCalls};
use redb::{Database, Durability};

use super::{Item, record};
use crate::{alone::TABLE, scratch, table::Row};

const THREADS: usize = 8;
/// The number of rounds, in each of which the store and redb alone are measured.
pub(super) const ROUNDS: u32 = 3;

/// Runs the comparison and returns its rows.
pub(super) fn run(quick: bool) -> Result<Vec<Row>, String> {
    let records: u32 = if quick { 800 } else { 100_000 };
    let items: Vec<_> = (0..records.into()).map(item).collect();
    let bytes = items.first().map_or(0, |item| item.bytes.len());
    let (mut ours, mut raw) = (Duration::ZERO, Duration::ZERO);
    let mut batch = 0.0;
    for _ in 0..ROUNDS {
        let directory = scratch::directory()?;
        let (time, stats) = shared(&directory.join("ours.redb"), &items, THREADS)?;
        ours += time;
        raw += alone(&directory.join("raw.redb"), &items, stats)?;
        #[allow(clippy::cast_precision_loss)] // There are at most a hundred thousand records.
        let each = stats.operations as f64 / stats.commits.max(1) as f64;
        batch += each / f64::from(ROUNDS);
    }
    let (ours, raw) = (ours.as_secs_f64(), raw.as_secs_f64());
    let each = f64::from(records * ROUNDS);
    Ok(vec![
        Row::time(format!("redb, {THREADS} threads: a record of {bytes} B, on disk in the end"), ours / each),
        Row::time("raw redb, the same batches, as durable", raw / each),
        Row::count("redb, records a commit", batch),
        Row::at_least("redb, rate against raw redb with the same batches", raw / ours, 0.7),
    ])
}

/// Returns an item whose record has about 200 bytes.
pub(super) fn item(nth: u64) -> Item {
    let mut item = Item::new(nth, 0);
    item.record = record(nth, ValueRef::of(&nth.to_le_bytes()));
    item.bytes = item.record.to_bytes(&item.key).unwrap_or_default();
    item
}

/// Puts the items from this many threads. Returns the time until all are durable, and the commits that it took.
pub(super) fn shared(file: &Path, items: &[Item], threads: usize) -> Result<(Duration, CommitStats), String> {
    let store = RedbCalls::open(file).map_err(|error| error.to_string())?;
    let (barrier, part) = (Barrier::new(threads), items.len().div_ceil(threads));
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
    items.first().map_or(Ok(()), |item| store.sync(&item.key)).map_err(|error| error.to_string())?;
    Ok((begun.elapsed(), store.stats()))
}

/// Measures redb alone with the same items and the same numbers of commits and of commits that wait for the disk.
pub(super) fn alone(file: &Path, items: &[Item], stats: CommitStats) -> Result<Duration, String> {
    let said = |error: redb::Error| error.to_string();
    let commits = usize::try_from(stats.commits).unwrap_or(1).max(1);
    let lazy = stats.commits - stats.durable;
    let database = Database::create(file).map_err(|error| error.to_string())?;
    let begun = Instant::now();
    for (nth, batch) in (0..).zip(items.chunks(items.len().div_ceil(commits))) {
        let one = || -> Result<(), redb::Error> {
            let mut write = database.begin_write()?;
            if nth < lazy {
                write.set_durability(Durability::None)?;
            }
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
