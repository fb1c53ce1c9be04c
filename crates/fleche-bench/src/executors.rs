//! Measures calls per second through pools of two workers. The bodies are trivial, so the figures show the overhead.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use fleche_core::{Cache, Executor, ExecutorExt, fleche, wrap_executor};
#[cfg(target_os = "linux")]
use fleche_exec::ProcessPool;
use fleche_exec::ThreadPool;

use crate::{
    caches,
    measure::{Measure, fresh, medians, scratch_directory},
    peers::Files,
    table::{Row, Table},
};

const WORKERS: usize = 2;
/// The target for misses per second of a process pool on two cores, with stores in memory.
const MISSES: f64 = 50_000.0;
/// The target for hits per second of the same pool.
const HITS: f64 = 1_000_000.0;

#[fleche]
fn next(x: i64) -> i64 {
    x + 1
}

fn plain(x: i64) -> i64 {
    x + 1
}

/// Runs the benchmark and returns its table.
///
/// # Errors
/// Fails if a store or a pool cannot be opened, or a call fails.
pub(crate) fn run(quick: bool) -> Result<Table, String> {
    let (rounds, calls) = if quick { (1, 100) } else { (7, 20_000) };
    let directory = scratch_directory()?;
    let (memory, files) = (caches::memory(), caches::files(&directory)?);
    let mut rows = Vec::new();
    let threads = ThreadPool::new(WORKERS).map_err(|error| error.report().to_string())?;
    rows.extend(measure_pool("threads", &threads, [&memory, &files], &directory, rounds, calls, [None, None])?);
    #[cfg(target_os = "linux")]
    {
        let processes = ProcessPool::new(WORKERS).map_err(|error| error.report().to_string())?;
        let targets = [Some(MISSES), Some(HITS)];
        rows.extend(measure_pool("processes", &processes, [&memory, &files], &directory, rounds, calls, targets)?);
    }
    Ok(Table(rows))
}

/// Measures one pool, with targets for misses and hits with stores in memory.
fn measure_pool(
    name: &str,
    pool: &dyn Executor,
    [memory, files]: [&Cache; 2],
    directory: &Path,
    rounds: usize,
    calls: i64,
    [misses, hits]: [Option<f64>; 2],
) -> Result<Vec<Row>, String> {
    let wrapped = &wrap_executor(pool);
    // Files are slow enough to be measured with fewer calls.
    let few = calls / 10;
    let files_alone = Files::new(&directory.join(name))?;
    let hit = fresh(calls);
    memory.scope(|| timed(wrapped, next, hit, calls))?;
    files.scope(|| timed(wrapped, next, hit, few))?;
    let mut measures: Vec<Measure<'_>> = vec![
        Box::new(|| timed(pool, plain, 0, calls)),
        Box::new(|| memory.scope(|| timed(wrapped, next, fresh(calls), calls))),
        Box::new(|| memory.scope(|| timed(wrapped, next, hit, calls))),
        Box::new(|| from_two_threads(memory, wrapped, hit, calls)),
        Box::new(|| files.scope(|| timed(wrapped, next, fresh(few), few))),
        Box::new(|| files.scope(|| timed(wrapped, next, hit, few))),
        Box::new(|| files_alone.write(few)),
        Box::new(|| files_alone.read(few)),
    ];
    let times = medians(rounds, &mut measures)?;
    #[allow(clippy::cast_precision_loss)] // There are only thousands of calls.
    let rate = |at: usize, calls: i64| calls as f64 / times[at].as_secs_f64();
    let ratio = |at: usize, peer: usize| times[at].as_secs_f64() / times[peer].as_secs_f64();
    Ok(vec![
        Row::rate(format!("{name}: plain calls"), rate(0, calls), None),
        Row::rate(format!("{name}: misses, stores in memory"), rate(1, calls), misses),
        Row::rate(format!("{name}: hits, stores in memory, one thread submits"), rate(2, calls), None),
        Row::rate(format!("{name}: hits, stores in memory, two threads submit"), rate(3, 2 * calls), hits),
        Row::rate(format!("{name}: misses, stores in files"), rate(4, few), None),
        Row::ratio(format!("{name}: misses, stores in files, against writing as many files"), ratio(4, 6)),
        Row::rate(format!("{name}: hits, stores in files"), rate(5, few), None),
        Row::ratio(format!("{name}: hits, stores in files, against reading as many files"), ratio(5, 7)),
    ])
}

/// The number of calls in progress at once, typical of a program that maps over its inputs.
const AHEAD: usize = 1024;

/// Measures the time from the first submission of these calls to the last result.
fn timed<F>(pool: &(impl Executor + ?Sized), function: F, from: i64, calls: i64) -> Result<Duration, String>
where
    F: fleche_core::bound::Callable<(i64,), Output = i64> + Clone,
{
    let begun = Instant::now();
    let results = pool.map(function, (from..from + calls).map(|x| (x,))).ahead(AHEAD);
    for (x, result) in (from..).zip(results) {
        let result = result.map_err(|error| error.to_string())?;
        if result != x + 1 {
            return Err(format!("the pool returned {result} as the result of {x} + 1"));
        }
    }
    Ok(begun.elapsed())
}

/// Measures the time in which two threads each submit this many hits and receive the results.
fn from_two_threads(cache: &Cache, pool: &(impl Executor + ?Sized), from: i64, calls: i64) -> Result<Duration, String> {
    let begun = Instant::now();
    thread::scope(|scope| {
        let submit = || scope.spawn(|| cache.scope(|| timed(pool, next, from, calls)));
        for submitter in [submit(), submit()] {
            submitter.join().map_err(|_| "a submitting thread panicked".to_owned())??;
        }
        Ok(begun.elapsed())
    })
}
