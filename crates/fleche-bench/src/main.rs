//! `cargo xtask bench …`: measures the costs of fleche, compared with peers in the same run.
//!
//! Each figure is a median over rounds. In a round, everything that is compared is measured once, so that other load on the
//! machine affects all of it equally.

mod caches;
mod cold;
mod executors;
mod hits;
#[cfg(target_os = "linux")]
mod large;
mod machine;
mod measure;
mod misses;
mod peers;
mod scale;
mod stores;
mod table;

use std::{fs, path::PathBuf, process::ExitCode};

use clap::{
    Parser,
    builder::{PossibleValue, PossibleValuesParser},
};

use measure::remove_scratch;
use table::{Report, Table, svg};

/// A benchmark: its name, the description of the measurement, and the function that runs it, with less work if `quick`.
struct Benchmark(&'static str, &'static str, fn(quick: bool) -> Result<Table, String>);

/// All benchmarks. To add one, write a module and add a line here.
const ALL: &[Benchmark] = &[
    Benchmark("hits", "Hits in memory, compared with caches that never persist", hits::run),
    Benchmark("cold", "The first hit of a process, in files and in redb", cold::run),
    Benchmark("misses", "The cost of a miss with a trivial body", misses::run_misses),
    #[cfg(target_os = "linux")]
    Benchmark("large", "Large values, compared with copying, hashing and reading their bytes", large::run),
    Benchmark("claims", "The cost of an uncontended claim", misses::run_claims),
    Benchmark("executors", "Hits and misses per second through thread pools and process pools", executors::run),
    Benchmark("stores", "Stores, compared with the engines they are built on", stores::run),
    // This one comes last because it removes very many files.
    Benchmark("many", "Stores with a million records", scale::run),
];

/// Benchmarks of fleche.
#[derive(Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Arguments {
    /// The benchmarks to run; all of them by default
    #[arg(value_parser = PossibleValuesParser::new(ALL.iter().map(|Benchmark(name, about, _)| PossibleValue::new(*name).help(*about))))]
    what: Vec<String>,
    /// Run fewer rounds with less work, to test that everything runs; the figures mean nothing
    #[arg(long)]
    quick: bool,
    /// Write a chart of all rows that have a target to this file, as SVG
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
}

fn main() -> ExitCode {
    // This program is also the worker of the process pools.
    #[cfg(target_os = "linux")]
    fleche_exec::init();
    let ran = run(&Arguments::parse());
    match ran.and(remove_scratch()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(Arguments { what, quick, chart }: &Arguments) -> Result<(), String> {
    print!("{}", machine::header()?);
    let mut found = Vec::new();
    let wanted = |name| what.is_empty() || what.iter().any(|one| one == name);
    for Benchmark(name, _, measure) in ALL.iter().filter(|benchmark| wanted(benchmark.0)) {
        eprintln!("{name} …");
        found.push((*name, measure(*quick).map_err(|error| format!("{name}: {error}"))?));
    }
    let report = Report(found);
    print!("\n{report}");
    let Some(file) = chart else { return Ok(()) };
    fs::write(file, svg(&report)).map_err(|error| format!("cannot write {}: {error}", file.display()))
}
