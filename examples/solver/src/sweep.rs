//! The program's options and flow.

use std::{
    env,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::Parser;
use fleche_core::{Cache, ExecutorExt, FileContent, JobError, error::Report, executor_named};
use fleche_exec as _; // Links the executors.
use fleche_store_file::{FileCalls, FileValues};

use crate::heat::{Rod, SolverError, temperatures};

/// How hot does a heated rod become?
///
/// Runs a solver for each conductivity and each heat source, in worker processes, and prints the highest temperatures. The
/// results are stored, so a second run starts no solver.
#[derive(Debug, Parser)]
#[command(name = "sweep", version)]
pub struct Options {
    /// The conductivities of the rod, in W/(m K)
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "0.5,1,2,4")]
    conductivity: Vec<f64>,
    /// The heat sources in the rod, in W/m³
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "0,100,200,400")]
    source: Vec<f64>,
    /// The number of nodes of the rod, from 3 to 1000
    #[arg(long, value_name = "N", default_value_t = 101)]
    nodes: u32,
    /// The solver to run [default: the program `heat` beside this one]
    #[arg(long, value_name = "FILE")]
    solver: Option<PathBuf>,
    /// The directory for the stored results
    #[arg(long, value_name = "DIR", default_value = "target/solver")]
    dir: PathBuf,
    /// Where to run the solvers: `processes` (on Linux), `threads`, `serial`, or an executor that `fleche.toml` names
    #[arg(long, value_name = "NAME", default_value = if cfg!(target_os = "linux") { "processes" } else { "threads" })]
    executor: String,
}

/// The error of a failed run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The solver has no file.
    #[error(
        "cannot find the solver {}: build it with `cargo build --package fleche-example-solver`, or name one with --solver",
        .0.display()
    )]
    NoSolver(PathBuf),
    /// The stores or the pool cannot be opened.
    #[error(transparent)]
    Fleche(#[from] fleche_core::Error),
    /// A call returned no result.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The solver has failed.
    #[error(transparent)]
    Solver(#[from] SolverError),
    /// The program's own path is unknown, or the report cannot be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Runs the program with the options of this process.
pub fn main() -> ExitCode {
    // Worker processes are started as this program, and never return from this line.
    #[cfg(target_os = "linux")]
    fleche_exec::init();
    match run(&Options::parse(), &mut io::stdout().lock()) {
        Err(error) => {
            eprintln!("sweep: {}", Report::new(&error));
            ExitCode::FAILURE
        }
        Ok(()) => ExitCode::SUCCESS,
    }
}

/// Runs the sweep and writes the report.
///
/// # Errors
/// Fails if the solver is missing or fails, if a store or the pool cannot be opened, or if the report cannot be written.
pub fn run(options: &Options, report: &mut impl Write) -> Result<(), RunError> {
    let solver = match &options.solver {
        Some(path) => FileContent::new(path),
        None => FileContent::new(env::current_exe()?.with_file_name(format!("heat{}", env::consts::EXE_SUFFIX))),
    };
    if !solver.path().exists() {
        return Err(RunError::NoSolver(solver.path().to_owned()));
    }
    let open = |store| options.dir.join(store);
    let cache = Cache::new(FileValues::open(open("values"))?, FileCalls::open(open("calls"))?);
    let _active = cache.enter();
    let pool = executor_named(&options.executor)?;
    let rod = |conductivity, source| Rod { conductivity, source, nodes: options.nodes };
    let rods = options.conductivity.iter().flat_map(|&k| options.source.iter().map(move |&source| rod(k, source)));
    // All calls are submitted before the first result is awaited. Hits are answered without the pool.
    let jobs: Vec<_> = rods.map(|rod| (rod, pool.run(temperatures::bind(&solver, &rod)))).collect();
    writeln!(report, "conductivity   source  highest temperature")?;
    for (rod, job) in jobs {
        let highest = job.result()??.into_iter().fold(f64::NEG_INFINITY, f64::max);
        writeln!(report, "{:>12} {:>8} {highest:>20.3}", rod.conductivity, rod.source)?;
    }
    let stats = cache.stats();
    writeln!(report, "computed {}, hits {}", stats.computed, stats.hits)?;
    Ok(())
}
