//! Measures commits to redb, of one thread and of eight, compared with redb alone.
//!
//! For misses, redb alone commits batches of the same size with the same durability; for hits, it also decodes the records.

use std::{
    hint::black_box,
    path::Path,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use fleche_core::{CallStore, Record, ValueRef};
use fleche_store_redb::{CommitStats, RedbCalls};
use redb::{Database, Durability, ReadableDatabase};

use crate::{
    measure::{Measure, medians, scratch_directory},
    peers::{Item, TABLE, record},
    table::Row,
};

const THREADS: usize = 8;
/// The number of rounds, in each of which the store and redb alone are measured.
const ROUNDS: u32 = 3;

/// Compares commits that threads share with commits to redb alone, in batches of the same size and durability, and
/// returns the rows.
pub(super) fn run_shared(quick: bool) -> Result<Vec<Row>, String> {
    let records: u32 = if quick { 800 } else { 100_000 };
    let items: Vec<_> = (0..records.into()).map(item).collect();
    let bytes = items.first().map_or(0, |item| item.bytes.len());
    let (mut ours, mut raw) = (Duration::ZERO, Duration::ZERO);
    let mut batch = 0.0;
    for _ in 0..ROUNDS {
        let directory = scratch_directory()?;
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
fn item(nth: u64) -> Item {
    let mut item = Item::new(nth, 0);
    item.record = record(nth, ValueRef::new(&nth.to_le_bytes()));
    item.bytes = item.record.to_bytes(&item.key).unwrap_or_default();
    item
}

/// Puts the items from this many threads. Returns the time until all are durable, and the commits that it took.
fn shared(file: &Path, items: &[Item], threads: usize) -> Result<(Duration, CommitStats), String> {
    let store = RedbCalls::open(file).map_err(|error| error.report().to_string())?;
    let (barrier, part) = (Barrier::new(threads), items.len().div_ceil(threads));
    let begun = Instant::now();
    thread::scope(|scope| {
        let one = |items| {
            let (store, barrier) = (&store, &barrier);
            scope.spawn(move || {
                barrier.wait();
                let put = |item: &Item| store.put(&item.key, &item.record).map_err(|error| error.report().to_string());
                <[Item]>::iter(items).try_for_each(put)
            })
        };
        let threads: Vec<_> = items.chunks(part).map(one).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| Err("a thread panicked".to_owned())))
    })?;
    items.first().map_or(Ok(()), |item| store.sync(&item.key)).map_err(|error| error.report().to_string())?;
    Ok((begun.elapsed(), store.stats()))
}

/// Measures redb alone with the same items and the same numbers of commits and of commits that wait for the disk.
fn alone(file: &Path, items: &[Item], stats: CommitStats) -> Result<Duration, String> {
    let message = |error: redb::Error| error.to_string();
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
        one().map_err(message)?;
    }
    Ok(begun.elapsed())
}

/// Compares misses and hits of one thread with redb alone, and returns the rows.
pub(super) fn run_single(quick: bool) -> Result<Vec<Row>, String> {
    let records: u64 = if quick { 800 } else { 100_000 };
    let directory = scratch_directory()?;
    let file = |whose: &str, round: u32| directory.join(format!("{whose}{round}.redb"));
    let items: Vec<_> = (0..records).map(item).collect();
    let (mut ours, mut raw) = (Duration::ZERO, Duration::ZERO);
    for round in 0..ROUNDS {
        let (time, stats) = shared(&file("ours", round), &items, 1)?;
        ours += time;
        raw += alone(&file("raw", round), &items, stats)?;
    }
    let (hit, got) = hits(&file("ours", 0), &file("raw", 0), &items, if quick { 1 } else { 5 })?;
    let ratio = |ours: Duration, raw: Duration| ours.as_secs_f64() / raw.as_secs_f64();
    Ok(vec![
        Row::held("redb, one thread: a miss, against raw redb with the same batches", ratio(ours, raw), 1.3),
        Row::held("redb, one thread: a hit, against raw redb and decoding", ratio(hit, got), 1.5),
    ])
}

/// Measures getting all items from the store, and from redb alone with decoding.
fn hits(ours: &Path, raw: &Path, items: &[Item], rounds: usize) -> Result<(Duration, Duration), String> {
    let store = RedbCalls::open(ours).map_err(|error| error.report().to_string())?;
    let database = Database::open(raw).map_err(|error| error.to_string())?;
    let get = |item: &Item| -> Result<Option<Record>, redb::Error> {
        let found = database.begin_read()?.open_table(TABLE)?.get(item.key.digest().as_bytes())?;
        let bytes = found.map(|bytes| bytes.value().to_vec());
        Ok(bytes.and_then(|bytes| Record::from_bytes(&item.key, &bytes).ok().flatten()))
    };
    let timed = |one: &dyn Fn(&Item) -> Result<Option<Record>, String>| {
        let begun = Instant::now();
        for item in items {
            black_box(one(item)?).ok_or("a record that was put is missing")?;
        }
        Ok(begun.elapsed())
    };
    let mut measures: [Measure<'_>; 2] = [
        Box::new(|| timed(&|item| store.get(&item.key).map_err(|error| error.report().to_string()))),
        Box::new(|| timed(&|item| get(item).map_err(|error| error.to_string()))),
    ];
    let took = medians(rounds, &mut measures)?;
    Ok((took[0], took[1]))
}
