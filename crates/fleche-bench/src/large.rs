//! Measures calls with large values, compared with the copying, hashing and reading that their bytes require.

use std::{
    fs,
    hint::black_box,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use fleche_core::{Cache, ValueStore, cache::HotTier, fleche};
use fleche_store_file::{FileCalls, FileValues};

use crate::{
    measure::{Measure, medians, scratch_directory},
    table::{Row, Table},
};

/// The length of the arrays, which are 8 MB of `f64`.
const NUMBERS: usize = 1_000_000;

#[fleche]
fn of_array(array: &[f64]) -> usize {
    array.len()
}

#[fleche]
fn array(first: u32) -> Vec<f64> {
    numbers(first)
}

#[fleche]
fn shared_array(first: u32) -> Arc<Vec<f64>> {
    Arc::new(numbers(first))
}

fn numbers(first: u32) -> Vec<f64> {
    (first..).take(NUMBERS).map(f64::from).collect()
}

/// Runs the benchmark and returns its table.
///
/// # Errors
/// Fails if a store cannot be opened, read or written.
pub(crate) fn run(quick: bool) -> Result<Table, String> {
    let rounds = if quick { 1 } else { 25 };
    let mut rows = keys(rounds)?;
    rows.extend(results(rounds)?);
    Ok(Table(rows))
}

fn keys(rounds: usize) -> Result<Vec<Row>, String> {
    let array = numbers(0);
    let bytes: Vec<u8> = array.iter().flat_map(|number| number.to_le_bytes()).collect();
    let mut copy = bytes.clone();
    let mut measures: Vec<Measure<'_>> = vec![
        Box::new(|| Ok(timed(|| black_box(&mut copy).copy_from_slice(black_box(&bytes))))),
        Box::new(|| Ok(timed(|| blake3::hash(black_box(&bytes))))),
        Box::new(|| on_one_core(|| timed(|| of_array::key(black_box(&array))))),
        Box::new(|| Ok(timed(|| of_array::key(black_box(&array))))),
    ];
    let times = medians(rounds, &mut measures)?;
    let seconds = |at: usize| times[at].as_secs_f64();
    let bound = 2.0 * seconds(0) + seconds(1);
    let speed = |what: &str, at: usize, least| Row::at_least(what, bound / seconds(at), least);
    Ok(vec![
        Row::time("8 MB: copied", seconds(0)),
        Row::time("8 MB: hashed with BLAKE3 on one thread", seconds(1)),
        Row::time("key of 8 MB, on one core", seconds(2)),
        Row::time("key of 8 MB, on all cores", seconds(3)),
        speed("key of 8 MB on one core: speed, against encoding (2 copies) and BLAKE3", 2, 0.9),
        speed("key of 8 MB on all cores: the same", 3, 1.5),
    ])
}

fn results(rounds: usize) -> Result<Vec<Row>, String> {
    let said = |error: fleche_core::Error| error.report().to_string();
    let directory = scratch_directory()?;
    let values = FileValues::open(directory.join("values")).map_err(said)?;
    let calls = FileCalls::open(directory.join("calls")).map_err(said)?;
    let cache = Cache::builder().values(values.clone()).calls(calls).hot_tier(HotTier::OFF).build();
    cache.scope(|| (array(0), shared_array(0)));
    let id = values.ids(&fleche_core::DigestPrefix::all()).map_err(said)?.next();
    let id = id.ok_or("no value was stored")?.map_err(said)?;
    let path = file_of(values.root(), &id);
    let bytes = fs::read(&path).map_err(|error| format!("cannot read the value's file: {error}"))?;
    let mut measures: Vec<Measure<'_>> = vec![
        Box::new(|| Ok(timed(|| fs::read(&path)))),
        Box::new(|| Ok(timed(|| blake3::hash(black_box(&bytes))))),
        Box::new(|| Ok(timed(|| black_box(&bytes).clone()))),
        Box::new(|| on_one_core(|| cache.scope(|| timed(|| array(0))))),
        Box::new(|| Ok(cache.scope(|| timed(|| array(0))))),
        Box::new(|| Ok(cache.scope(|| timed(|| shared_array(0))))),
    ];
    let times = medians(rounds, &mut measures)?;
    let seconds = |at: usize| times[at].as_secs_f64();
    let bound = seconds(0) + seconds(1) + seconds(2);
    if cache.stats().misses > 2 {
        return Err("a recorded call was a miss".to_owned());
    }
    let bound = ("read, BLAKE3, copy", bound);
    Ok(vec![
        Row::time("8 MB: read from a file", seconds(0)),
        Row::time("8 MB: copied to new memory", seconds(2)),
        Row::against("hit of 8 MB in files, on one core", seconds(3), bound, 1.3),
        Row::against("hit of 8 MB in files, on all cores", seconds(4), bound, 1.3),
        Row::against("hit of an `Arc` of 8 MB in files, on all cores", seconds(5), bound, 1.3),
    ])
}

fn file_of(root: &Path, id: &fleche_core::Digest) -> PathBuf {
    let text = id.to_string();
    let (shard, name) = text.split_at(2);
    root.join(shard).join(name)
}

/// Measures the closure, including the drop of its result.
fn timed<R>(run: impl FnOnce() -> R) -> Duration {
    let begun = Instant::now();
    drop(black_box(run()));
    begun.elapsed()
}

/// Runs the closure, and all threads it starts, on one core of the machine.
fn on_one_core<R>(run: impl FnOnce() -> R) -> Result<R, String> {
    use nix::{
        sched::{CpuSet, sched_getaffinity, sched_setaffinity},
        unistd::Pid,
    };
    let said = |error: nix::Error| format!("cannot bind the thread to a core: {error}");
    let all = sched_getaffinity(Pid::from_raw(0)).map_err(said)?;
    let first = (0..CpuSet::count()).find(|core| all.is_set(*core).unwrap_or(false)).unwrap_or(0);
    let mut one = CpuSet::new();
    one.set(first).map_err(said)?;
    sched_setaffinity(Pid::from_raw(0), &one).map_err(said)?;
    let result = run();
    sched_setaffinity(Pid::from_raw(0), &all).map_err(said)?;
    Ok(result)
}
