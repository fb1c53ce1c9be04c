//! The program's options and flow.

mod stored;

use std::{
    fs,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Instant,
};

use clap::{Parser, ValueEnum};
use fleche_core::{
    Cache, Executor, ExecutorExt, FileContent, JobError, Stats, error::Report, executor::Wrapped, executor_named,
    wrap_executor,
};
#[cfg(target_os = "linux")]
use fleche_exec::ProcessPool;
use fleche_exec::ThreadPool;
#[cfg(feature = "slurm")]
use fleche_exec_slurm as _;
use fleche_store_memory::{MemoryCalls, MemoryValues};
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    chart::Svg,
    data::{DataError, FOLDS, SHIPPED},
    report::{Means, Plot, order},
    study::{Metric, accuracy, digits},
};

/// How well do a handwritten digit's nearest neighbours identify it?
///
/// Finds the nearest neighbours of 1797 digits by three metrics in five folds, and lets 1 to 15 of them vote. The results
/// are stored, so a second run computes nothing.
#[derive(Debug, Parser)]
#[command(name = "digits", version)]
pub struct Options {
    /// Where to store results
    #[arg(long, value_enum, default_value_t = Store::File)]
    store: Store,
    /// The directory for the stored results and the picture
    #[arg(long, value_name = "DIR", default_value = "target/digits")]
    dir: PathBuf,
    /// Where to run calls: `threads`, `processes` (on Linux), `serial`, or an executor that `fleche.toml` names
    #[arg(long, value_name = "NAME", default_value = "threads")]
    executor: String,
    /// The number of calls that `threads` and `processes` run at once; other executors refuse it [default: one per core]
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// Remove the results that earlier runs stored in DIR, and nothing else, instead of running
    #[arg(long)]
    clear: bool,
    /// A CSV file to use in place of the digits that come with the program: 64 pixels from 0 to 16 and a label from 0 to 9
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
}

/// The stores of the results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Store {
    /// In files, for the next run
    File,
    /// In memory, for this run
    Memory,
}

/// Opens the executor. `workers` applies to the built-in pools only.
fn open_executor(name: &str, workers: Option<usize>) -> Result<Wrapped<Arc<dyn Executor>>, RunError> {
    let executor: Arc<dyn Executor> = match (name, workers) {
        ("threads", Some(workers)) => Arc::new(ThreadPool::new(workers)?),
        #[cfg(target_os = "linux")]
        ("processes", Some(workers)) => Arc::new(ProcessPool::new(workers)?),
        (_, Some(_)) => return Err(RunError::Workers(name.to_owned())),
        (_, None) => return Ok(executor_named(name)?),
    };
    Ok(wrap_executor(executor))
}

/// The error of a failed run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The input cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The executor has no `--workers`.
    #[error("--workers applies to the executors `threads` and `processes` (on Linux), not to `{0}`")]
    Workers(String),
    /// The stores or the pool cannot be opened, or the stores cannot be cleared.
    #[error(transparent)]
    Fleche(#[from] fleche_core::Error),
    /// A call returned no result.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The picture cannot be written.
    #[error("cannot write {} (--dir names another directory)", path.display())]
    Picture {
        /// The picture's file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The report cannot be written.
    #[error("cannot write the report")]
    Report(#[from] io::Error),
}

/// Runs the program with the options of this process.
pub fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    fleche_exec::init();
    match run(&Options::parse(), &mut io::stdout().lock()) {
        // The reader of the report has closed the pipe, as `head` does.
        Err(RunError::Report(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("digits: {}", Report::new(&error));
            ExitCode::FAILURE
        }
        Ok(()) => ExitCode::SUCCESS,
    }
}

/// Runs the study, or clears its stored results, and writes the report.
///
/// # Errors
/// Fails if the input is invalid, if a store or the executor fails, or if the picture or the report cannot be written.
pub fn run(options: &Options, report: &mut impl Write) -> Result<(), RunError> {
    if options.clear {
        let removed = stored::clear(&options.dir)?;
        writeln!(report, "removed {removed} stored results from {}", options.dir.display())?;
        return Ok(());
    }
    let started = Instant::now();
    let executor = open_executor(&options.executor, options.workers)?;
    let data = options.data.clone().unwrap_or_else(|| SHIPPED.into()).into();
    let cache = match options.store {
        Store::File => stored::open(&options.dir)?,
        Store::Memory => Cache::new(MemoryValues::new(), MemoryCalls::new()),
    };
    let means = cache.scope(|| study(&data, &executor))?;
    let picture = draw(&means, &options.dir)?;
    let seconds = started.elapsed().as_secs_f64();
    let Stats { hits, misses, computed, .. } = cache.stats();
    writeln!(report, "{means}\n\n{}\n\nchart: {}", Plot(&means), picture.display())?;
    writeln!(report, "calls {}, computed {computed}, hits {hits}, {seconds:.4} s", hits + misses)?;
    if computed == 0 {
        writeln!(report, "nothing was computed: every result was stored already")?;
    }
    Ok(())
}

/// Computes all accuracies and returns their means.
///
/// The calls with `k` = 1 run first: each finds the neighbours of its fold and metric, which are hits for all other `k`.
fn study(data: &FileContent, pool: &impl Executor) -> Result<Means, RunError> {
    // Read the digits once here, so that the workers find them in the cache.
    if !digits::contains(data).unwrap_or(false) {
        digits(data)?;
    }
    let calls: Vec<_> = order().map(|(k, fold, metric)| (data.clone(), k, fold, metric)).collect();
    let bar = progress(calls.len());
    let (first, others) = calls.split_at(FOLDS * Metric::ALL.len());
    let mut accuracies = Vec::with_capacity(calls.len());
    for stage in [first, others] {
        for found in pool.map(accuracy, stage.iter().cloned()) {
            accuracies.push(found??);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok(Means::of(&accuracies))
}

/// Creates a progress bar on standard error, which is hidden if that is not a terminal.
fn progress(calls: usize) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} calls, {elapsed}");
    let bar = ProgressBar::new(calls.try_into().unwrap_or(u64::MAX));
    style.map_or_else(|_| bar.clone(), |style| bar.clone().with_style(style))
}

/// Draws the picture and returns its path. Leaves the file alone if it already contains this picture.
fn draw(means: &Means, directory: &Path) -> Result<PathBuf, RunError> {
    let path = directory.join("digits.svg");
    let picture = Svg(means).to_string();
    if fs::read(&path).is_ok_and(|drawn| drawn == picture.as_bytes()) {
        return Ok(path);
    }
    fs::create_dir_all(directory)
        .and_then(|()| fs::write(&path, picture))
        .map_err(|source| RunError::Picture { path: path.clone(), source })?;
    Ok(path)
}
