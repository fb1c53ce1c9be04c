//! Measures stores with very many records: opening, a hit, a search by function and argument, and memory during a full read.
//!
//! Everything is measured alternately with many records and with few. Hits come in random order, with the hot tier off and
//! the pages that they read already in the system's page cache.

mod fill;

use std::{
    cell::Cell,
    hint::black_box,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use fill::{FUNCTION, key, kind_of, many, resident};
use fleche_core::{Cache, CallKey, CallStore, Query, cache::HotTier};
use fleche_store_file::FileCalls;
use fleche_store_memory::{MemoryCalls, MemoryValues};
use fleche_store_redb::RedbCalls;
use fleche_store_sql::SqlCalls;
use redb::ReadableDatabase;

use crate::{
    measure::{Measure, medians, scratch_directory},
    peers::TABLE,
    table::{Row, Table},
};

/// A kind of store.
struct Kind {
    name: &'static str,
    open: fn(&Path) -> fleche_core::Result<Arc<dyn CallStore>>,
    fill: fn(&dyn CallStore, &Path, u64) -> Result<(), String>,
    /// Whether searches use an index.
    indexed: bool,
    /// Whether the store is on disk, so that opening it can be measured.
    on_disk: bool,
}

const KINDS: [Kind; 4] = [
    Kind {
        name: "memory",
        open: |_| Ok(Arc::new(MemoryCalls::new())),
        fill: |store, _, records| fill::by_the_store(store, records),
        indexed: false,
        on_disk: false,
    },
    Kind {
        name: "file",
        open: |path| Ok(Arc::new(FileCalls::open(path)?)),
        fill: |store, _, records| fill::by_the_store(store, records),
        indexed: false,
        on_disk: true,
    },
    Kind {
        name: "redb",
        open: |path| Ok(Arc::new(RedbCalls::open(path)?)),
        fill: |store, _, records| fill::by_the_store(store, records),
        indexed: true,
        on_disk: true,
    },
    Kind {
        name: "sqlite",
        open: |path| Ok(Arc::new(SqlCalls::open(format!("sqlite:{}", path.display()))?)),
        fill: fill::sqlite,
        indexed: true,
        on_disk: true,
    },
];

/// Runs the benchmark and returns its table.
///
/// # Errors
/// Fails if a store cannot be opened, filled or read.
pub(crate) fn run(quick: bool) -> Result<Table, String> {
    let (few, many) = if quick { (100, 10_000) } else { (1_000, 1_000_000) };
    let mut rows = Vec::new();
    for kind in &KINDS {
        rows.extend(measure_kind(kind, few, many, if quick { 1 } else { 9 })?);
    }
    Ok(Table(rows))
}

/// The growth of memory, in MiB, that still counts as none.
const FLAT: f64 = 8.0;

/// A store, or a cache over it, with the number of its records.
struct Filled<S: ?Sized> {
    store: Arc<S>,
    records: u64,
}

impl Filled<dyn CallStore> {
    /// Returns a cache over the store, with the hot tier off.
    fn called(&self) -> Filled<Cache> {
        let cache =
            Cache::builder().values(MemoryValues::new()).calls(Arc::clone(&self.store)).hot_tier(HotTier::OFF).build();
        Filled { store: Arc::new(cache), records: self.records }
    }
}

fn measure_kind(kind: &Kind, few: u64, many: u64, rounds: usize) -> Result<Vec<Row>, String> {
    let directory = scratch_directory()?;
    let mut rows = Vec::new();
    let mut of = |records: u64| -> Result<Filled<dyn CallStore>, String> {
        let (filled, opening) = filled(kind, &directory.join(records.to_string()), records)?;
        if kind.on_disk {
            rows.push(opening);
        }
        Ok(filled)
    };
    let (few, many) = (of(few)?, of(many)?);
    let label = |what: &str| format!("{}, {} records: {what}", kind.name, many.records);
    let calls = interleaved(rounds, &[&few.called(), &many.called()], 2_000, arguments, call)?;
    let gets = interleaved(rounds, &[&few, &many], 2_000, key, get)?;
    let finds = interleaved(rounds, &[&few, &many], if kind.indexed { 100 } else { 1 }, query, find)?;
    let against = |what: &str| label(&format!("{what}, against {} records", few.records));
    rows.push(Row::time(label("a hit"), calls[1]));
    rows.push(Row::held(against("a hit"), calls[1] / calls[0], 1.3));
    rows.push(Row::time(label("the store's part in it"), gets[1]));
    rows.push(Row::ratio(against("the store's part in it"), gets[1] / gets[0]));
    if kind.name == "redb" {
        rows.push(raw_redb(&directory, [few.records, many.records], rounds)?);
    }
    rows.push(Row::time(label("find by function and argument"), finds[1]));
    rows.push(Row::ratio(label(&format!("the same, against {} records", few.records)), finds[1] / finds[0]));
    // The store's own caches are full after the first read.
    let (first, again) = (growth_while_reading(&many)?, growth_while_reading(&many)?);
    rows.push(Row::memory(label("memory grows by, while all are read"), first, None));
    rows.push(Row::memory(label("memory grows by, while all are read again"), again, Some(FLAT)));
    Ok(rows)
}

/// Measures gets of the same records from one table of redb without fleche.
fn raw_redb(directory: &Path, [few, many]: [u64; 2], rounds: usize) -> Result<Row, String> {
    let of = |records: u64| -> Result<Filled<redb::Database>, String> {
        let store = fill::raw_redb(&directory.join(format!("raw {records}")), records)?;
        Ok(Filled { store: Arc::new(store), records })
    };
    let get = |store: &redb::Database, key: &CallKey| -> Result<(), String> {
        let get = || -> Result<Option<Vec<u8>>, redb::Error> {
            let found = store.begin_read()?.open_table(TABLE)?.get(key.digest().as_bytes())?;
            Ok(found.map(|found| found.value().to_vec()))
        };
        black_box(get().map_err(|error| error.to_string())?)
            .map(drop)
            .ok_or_else(|| "a record that was put is missing".to_owned())
    };
    let gets = interleaved(rounds, &[&of(few)?, &of(many)?], 2_000, key, get)?;
    Ok(Row::ratio(format!("raw redb, {many} records: a get, against {few} records"), gets[1] / gets[0]))
}

/// Fills a store and, if it is on disk, closes and reopens it. Returns it with the row for opening and the first hit.
fn filled(kind: &Kind, path: &Path, records: u64) -> Result<(Filled<dyn CallStore>, Row), String> {
    let open = || (kind.open)(path).map_err(|error| error.report().to_string());
    let mut store = open()?;
    (kind.fill)(&*store, path, records)?;
    let mut took = Duration::ZERO;
    if kind.on_disk {
        drop(store);
        let begun = Instant::now();
        store = open()?;
        get(&*store, &key(records / 2)?)?;
        took = begun.elapsed();
    }
    let row = Row::within(format!("{}, {records} records: opening, with one hit", kind.name), took.as_secs_f64(), 1.0);
    Ok((Filled { store, records }, row))
}

/// Returns the seconds that one `ask` takes on each of these stores, which are measured alternately.
///
/// The questions are made before the measurement.
fn interleaved<S: ?Sized, T>(
    rounds: usize,
    stores: &[&Filled<S>],
    count: u64,
    question: fn(u64) -> Result<T, String>,
    ask: fn(&S, &T) -> Result<(), String>,
) -> Result<Vec<f64>, String> {
    let random = Cell::new(1_u64);
    let measure = |filled: &&Filled<S>| -> Measure<'_> {
        let (store, records) = (Arc::clone(&filled.store), filled.records);
        let random = &random;
        Box::new(move || {
            let next = |_| {
                random
                    .set(random.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
                (random.get() >> 33) % records
            };
            let questions = (0..count).map(next).map(question).collect::<Result<Vec<_>, _>>()?;
            // Ask once unmeasured, so that the figure excludes reads from the disk.
            questions.iter().try_for_each(|question| ask(&*store, question))?;
            let begun = Instant::now();
            questions.iter().try_for_each(|question| ask(&*store, question))?;
            Ok(begun.elapsed())
        })
    };
    let times = medians(rounds, &mut stores.iter().map(measure).collect::<Vec<_>>())?;
    #[allow(clippy::cast_precision_loss)] // There are only thousands of questions.
    Ok(times.into_iter().map(|time| time.as_secs_f64() / count as f64).collect())
}

#[allow(clippy::unnecessary_wraps)] // The signature is that of all questions.
fn arguments(nth: u64) -> Result<(u64, u64), String> {
    Ok((nth, kind_of(nth)))
}

/// Makes a call, which must be a hit.
fn call(cache: &Cache, &(nth, kind): &(u64, u64)) -> Result<(), String> {
    let found = cache.scope(|| many(nth, kind));
    if found == nth + kind && cache.stats().misses == 0 { Ok(()) } else { Err("a recorded call was a miss".to_owned()) }
}

/// Gets the record summary from the store, which is the store's part of a hit.
fn get(store: &dyn CallStore, key: &CallKey) -> Result<(), String> {
    let found = store.summary(key).map_err(|error| error.report().to_string())?;
    black_box(found).map(drop).ok_or_else(|| "a record that was put is missing".to_owned())
}

fn query(nth: u64) -> Result<Query, String> {
    Query::new().function(FUNCTION).argument("nth", &nth).map_err(|error| error.report().to_string())
}

fn find(store: &dyn CallStore, query: &Query) -> Result<(), String> {
    let message = |error: fleche_core::Error| error.report().to_string();
    let found: Vec<(CallKey, _)> = store.find(query).map_err(message)?.collect::<Result<_, _>>().map_err(message)?;
    if found.len() == 1 { Ok(()) } else { Err(format!("the search found {} records instead of one", found.len())) }
}

/// Reads every record, and returns the largest growth of the process's resident memory, in MiB.
fn growth_while_reading(filled: &Filled<dyn CallStore>) -> Result<f64, String> {
    let message = |error: fleche_core::Error| error.report().to_string();
    let before = resident()?;
    let mut most = before;
    let mut read = 0;
    for found in filled.store.find(&Query::new()).map_err(message)? {
        black_box(found.map_err(message)?);
        read += 1;
        if read % 1_000 == 0 {
            most = most.max(resident()?);
        }
    }
    if read != filled.records {
        return Err(format!("read {read} records instead of {}", filled.records));
    }
    Ok(most - before)
}
