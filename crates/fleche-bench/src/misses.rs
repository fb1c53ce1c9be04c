//! Measures misses with a trivial body, compared with writing the same to files, and to redb in the same batches; and the
//! cost of an uncontended claim: misses with it, compared with misses without it.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use fleche_core::{Cache, CallKey, CallStore, Digest, claim::Claim, collect, fleche};
use fleche_store_file::FileCalls;
use fleche_store_redb::{Durability, RedbCalls, RedbCallsConfig, RedbValues};
use redb::{Database, Durability as Raw};

use crate::{
    caches,
    measure::{Measure, called, fresh, medians, missed, scratch_directory},
    peers::{Files, TABLE},
    table::{Row, Table},
};

#[fleche]
fn next(x: i64) -> i64 {
    x + 1
}

/// Runs the benchmark of misses and returns its table.
///
/// # Errors
/// Fails if a store cannot be opened or written.
pub(crate) fn run_misses(quick: bool) -> Result<Table, String> {
    let (rounds, calls) = if quick { (1, 200) } else { (9, 20_000) };
    let few = calls / 10;
    let directory = scratch_directory()?;
    let at = |name: &str| directory.join(name);
    let (memory, files) = (caches::memory(), caches::files(&directory)?);
    let plain = Files::new(&directory)?;
    let kept = Databases::open(&at("eventual"), Durability::Eventual)?;
    let loose = Databases::open(&at("none"), Durability::None)?;
    let bare = |cache: &Cache, calls| cache.scope(|| without_metadata(|| missed(next, calls)));
    let mut measures: Vec<Measure<'_>> = vec![
        Box::new(|| Ok(bare(&memory, calls))),
        Box::new(|| Ok(memory.scope(|| missed(next, calls)))),
        Box::new(|| Ok(bare(&files, few))),
        Box::new(|| plain.write(few)),
        Box::new(|| Ok(bare(&kept.cache, calls))),
        Box::new(|| kept.alone(calls)),
        Box::new(|| Ok(bare(&loose.cache, calls))),
        Box::new(|| loose.alone(calls)),
    ];
    let times = medians(rounds, &mut measures)?;
    #[allow(clippy::cast_precision_loss)] // There are only thousands of calls.
    let each = |at: usize, calls: i64| times[at].as_secs_f64() / calls as f64;
    let raw = "raw redb, same commits, as durable";
    Ok(Table(vec![
        Row::within("memory, no metadata", each(0, calls), 2e-6),
        Row::within("`Runtime` metadata on top", each(1, calls) - each(0, calls), 3e-6),
        Row::against("file, no metadata", each(2, few), ("write and rename as many files", each(3, few)), 1.5),
        Row::against("redb (`eventual`), no metadata", each(4, calls), (raw, each(5, calls)), 1.3),
        Row::against("redb (`none`), no metadata", each(6, calls), (raw, each(7, calls)), 1.3),
    ]))
}

fn without_metadata<R>(run: impl FnOnce() -> R) -> R {
    let _none = collect([]).enter();
    run()
}

/// A cache in redb, and a redb database without fleche for the same records.
struct Databases {
    cache: Cache,
    calls: RedbCalls,
    raw: Database,
}

impl Databases {
    fn open(directory: &Path, durability: Durability) -> Result<Self, String> {
        std::fs::create_dir(directory).map_err(|error| format!("cannot create a directory for databases: {error}"))?;
        let ours = directory.join("ours.redb");
        let calls = RedbCalls::open_with(&RedbCallsConfig::new(&ours).durability(durability));
        let calls = calls.map_err(|error| error.report().to_string())?;
        let values = RedbValues::open(&ours).map_err(|error| error.report().to_string())?;
        let raw = Database::create(directory.join("raw.redb")).map_err(|error| error.to_string())?;
        Ok(Self { cache: Cache::new(values, calls.clone()), calls, raw })
    }

    /// Measures putting the record of this call `calls` times into redb without fleche.
    ///
    /// The commits are as large as those of the cache so far, and the same share of them waits for the disk.
    fn alone(&self, calls: i64) -> Result<Duration, String> {
        let stats = self.calls.stats();
        let batch = usize::try_from(stats.operations / stats.commits.max(1)).unwrap_or(1).max(1);
        let record = self.record()?;
        let from = fresh(calls);
        let keys: Vec<_> = (from..from + calls).map(|x| Digest::hash(&x.to_le_bytes())).collect();
        let write = || -> Result<Duration, redb::Error> {
            let begun = Instant::now();
            let durable = |commits: u64| commits * stats.durable / stats.commits.max(1);
            for (nth, batch) in (0..).zip(keys.chunks(batch)) {
                let mut write = self.raw.begin_write()?;
                let due = durable(nth + 1) > durable(nth);
                write.set_durability(if due { Raw::Immediate } else { Raw::None })?;
                {
                    let mut table = write.open_table(TABLE)?;
                    for key in batch {
                        table.insert(key.as_bytes(), &*record)?;
                    }
                }
                write.commit()?;
            }
            Ok(begun.elapsed())
        };
        write().map_err(|error| format!("redb: {error}"))
    }

    /// Returns the bytes of a record that the cache has stored.
    fn record(&self) -> Result<Vec<u8>, String> {
        let x = fresh(1);
        self.cache.scope(|| without_metadata(|| called(next, x, 1)));
        let key: CallKey = next::key(x);
        let record = self.cache.record(&key).map_err(|error| error.report().to_string())?;
        record.ok_or("a call that was made has no record")?.to_bytes(&key).map_err(|error| error.to_string())
    }
}

const WITHOUT: &str = "without a claim";

#[fleche]
fn claimed(x: i64) -> i64 {
    x + 1
}

#[fleche(wait = false)]
fn unclaimed(x: i64) -> i64 {
    x + 1
}

/// Runs the benchmark of claims and returns its table.
///
/// # Errors
/// Fails if a store cannot be opened, or a call cannot be claimed.
pub(crate) fn run_claims(quick: bool) -> Result<Table, String> {
    let (rounds, calls) = if quick { (1, 100) } else { (9, 20_000) };
    let few = calls / 10;
    let directory = scratch_directory()?;
    let (memory, files) = (caches::memory(), caches::files(&directory)?);
    let records = FileCalls::open(directory.join("calls")).map_err(|error| error.report().to_string())?;
    let mut measures: Vec<Measure<'_>> = vec![
        Box::new(|| Ok(memory.scope(|| missed(unclaimed, calls)))),
        Box::new(|| Ok(memory.scope(|| missed(claimed, calls)))),
        Box::new(|| Ok(files.scope(|| missed(unclaimed, few)))),
        Box::new(|| Ok(files.scope(|| missed(claimed, few)))),
        Box::new(|| claims_alone(&records, few)),
    ];
    let times = medians(rounds, &mut measures)?;
    #[allow(clippy::cast_precision_loss)] // There are only thousands of calls.
    let each = |at: usize, calls: i64| times[at].as_secs_f64() / calls as f64;
    Ok(Table(vec![
        Row::against("memory: a miss", each(1, calls), (WITHOUT, each(0, calls)), None),
        Row::against("file: a miss", each(3, few), (WITHOUT, each(2, few)), None),
        Row::time("file: a claim, taken and released", each(4, few)),
    ]))
}

/// Measures the time to claim and release this many calls, one after the other.
fn claims_alone(records: &FileCalls, calls: i64) -> Result<Duration, String> {
    let from = fresh(calls);
    let keys: Vec<_> = (from..from + calls).map(|x| CallKey::from(Digest::hash(&x.to_le_bytes()))).collect();
    let begun = Instant::now();
    for key in &keys {
        match records.claim(key).map_err(|error| error.report().to_string())? {
            Claim::Held(held) => drop(held),
            other => return Err(format!("cannot claim a call that no other process holds: {other:?}")),
        }
    }
    Ok(begun.elapsed())
}
