//! Measures a process's first hit of a call, which the hot tier cannot serve, in the file store and the redb store.

use std::{
    fs::File,
    hint::black_box,
    io::Read,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use fleche_core::{Cache, CallKey, Record, ValueRef, cache::HotTier, encoding, fleche};
use redb::{Database, ReadOnlyTable, ReadableDatabase};

use crate::{
    caches,
    measure::{Measure, called, fresh, medians, scratch_directory},
    peers::{TABLE, message},
    table::{Row, Table},
};

#[fleche]
fn in_files(x: i64) -> i64 {
    x + 1
}

#[fleche]
fn in_redb(x: i64) -> i64 {
    x + 1
}

/// Runs the benchmark and returns its table.
///
/// # Errors
/// Fails if a store cannot be opened, written or read.
pub(crate) fn run(quick: bool) -> Result<Table, String> {
    let (rounds, calls) = if quick { (1, 50) } else { (9, 2_000) };
    let directory = scratch_directory()?;
    let root = directory.join("calls");
    let files = Recorded::new(caches::files(&directory)?, in_files, rounds, calls);
    let databases = Recorded::new(caches::redb(&directory.join("ours.redb"))?, in_redb, rounds, calls);
    let paths: Vec<_> = files.numbers().map(|x| path(&root, &in_files::key(x))).collect();
    let keys: Vec<_> = databases.numbers().map(in_redb::key).collect();
    let raw = Raw::copy(&directory.join("raw.redb"), &databases.cache, &keys)?;
    // Each round hits calls that this process has not hit before.
    let (mut of_files, mut of_databases) = (files.parts(), databases.parts());
    let [mut before, mut after] = [paths.chunks(calls), paths.chunks(calls)];
    let [mut alone, mut kept] = [keys.chunks(calls), keys.chunks(calls)];
    let mut measures: Vec<Measure<'_>> = vec![
        // The files are read once before each measurement, so that both find them in the processor's caches.
        Box::new(|| read(before.next()).and_then(|_| files.hit(of_files.next()))),
        Box::new(|| read(after.next())),
        Box::new(|| databases.hit(of_databases.next())),
        Box::new(|| raw.get(alone.next())),
        Box::new(|| raw.get_in_one(kept.next())),
    ];
    let times = medians(rounds, &mut measures)?;
    #[allow(clippy::cast_precision_loss)] // There are only thousands of calls.
    let each = |at: usize| times[at].as_secs_f64() / calls as f64;
    Ok(Table(vec![
        Row::against("file, result of ≤ 64 B", each(0), ("open, read and close the same files", each(1)), 1.5),
        Row::against("redb, result of ≤ 64 B", each(2), ("raw redb get of the same bytes, and decode", each(3)), 1.5),
        Row::against("redb, result of ≤ 64 B", each(2), ("the same in one kept transaction", each(4)), None),
    ]))
}

/// Recorded calls of which this process has nothing in memory.
struct Recorded {
    cache: Cache,
    function: fn(i64) -> i64,
    from: i64,
    /// The number of calls in a round.
    part: i64,
    /// The number of rounds.
    parts: i64,
}

impl Recorded {
    /// Records `part` calls for each of the rounds, and for one more round, which is not measured.
    fn new(cache: Cache, function: fn(i64) -> i64, rounds: usize, part: usize) -> Self {
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let (part, parts) = (count(part), count(rounds + 1));
        let from = fresh(part * parts);
        cache.to_builder().hot_tier(HotTier::OFF).build().scope(|| called(function, from, part * parts));
        Self { cache, function, from, part, parts }
    }

    fn numbers(&self) -> impl Iterator<Item = i64> + use<> {
        self.from..self.from + self.part * self.parts
    }

    /// Returns the first argument of each round.
    fn parts(&self) -> impl Iterator<Item = i64> + use<> {
        let (from, part) = (self.from, self.part);
        (0..self.parts).map(move |nth| from + nth * part)
    }

    fn hit(&self, from: Option<i64>) -> Result<Duration, String> {
        let from = from.ok_or("there are fewer recorded calls than rounds")?;
        let misses = self.cache.stats().misses;
        let took = self.cache.scope(|| called(self.function, from, self.part));
        if self.cache.stats().misses > misses { Err("a recorded call was a miss".to_owned()) } else { Ok(took) }
    }
}

/// Returns the path of the record's file in the file store.
fn path(root: &Path, key: &CallKey) -> PathBuf {
    let hex = key.digest().to_string();
    let (shard, name) = hex.split_at(2);
    root.join(shard).join(name)
}

/// Measures the minimum cost of reading these files: open, read and close.
fn read(paths: Option<&[PathBuf]>) -> Result<Duration, String> {
    let read = || -> std::io::Result<Duration> {
        let mut bytes = [0; 4096];
        let begun = Instant::now();
        for path in paths.unwrap_or_default() {
            let read = File::open(path)?.read(&mut bytes)?;
            black_box(&bytes[..read]);
        }
        Ok(begun.elapsed())
    };
    read().map_err(|error| format!("cannot read a record's file: {error}"))
}

/// The same records in a redb database without fleche.
struct Raw(Database);

impl Raw {
    fn copy(file: &Path, cache: &Cache, keys: &[CallKey]) -> Result<Self, String> {
        let database = Database::create(file).map_err(message)?;
        let write = database.begin_write().map_err(message)?;
        {
            let mut table = write.open_table(TABLE).map_err(message)?;
            for key in keys {
                let record = cache.record(key).map_err(message)?.ok_or("a call that was made has no record")?;
                let bytes = record.to_bytes(key).map_err(message)?;
                table.insert(key.digest().as_bytes(), &*bytes).map_err(message)?;
            }
        }
        write.commit().map_err(message)?;
        Ok(Self(database))
    }

    /// Measures getting the records with one transaction for each.
    fn get(&self, keys: Option<&[CallKey]>) -> Result<Duration, String> {
        let begun = Instant::now();
        for key in keys.unwrap_or_default() {
            get_and_decode(&self.open()?, key)?;
        }
        Ok(begun.elapsed())
    }

    /// Measures getting all the records in one transaction.
    fn get_in_one(&self, keys: Option<&[CallKey]>) -> Result<Duration, String> {
        let table = self.open()?;
        let begun = Instant::now();
        keys.unwrap_or_default().iter().try_for_each(|key| get_and_decode(&table, key))?;
        Ok(begun.elapsed())
    }

    fn open(&self) -> Result<ReadOnlyTable<&'static [u8; 32], &'static [u8]>, String> {
        self.0.begin_read().map_err(message)?.open_table(TABLE).map_err(message)
    }
}

fn get_and_decode(table: &ReadOnlyTable<&'static [u8; 32], &'static [u8]>, key: &CallKey) -> Result<(), String> {
    let found = table.get(key.digest().as_bytes()).map_err(message)?.ok_or("a record that was put is missing")?;
    let record = Record::from_bytes(key, found.value()).map_err(message)?.ok_or("the record has an unknown format")?;
    let ValueRef::Inline(result) = &record.result else { return Err("the result is not in the record".to_owned()) };
    black_box(encoding::from_slice::<i64>(result.as_slice()).map_err(message)?);
    Ok(())
}
