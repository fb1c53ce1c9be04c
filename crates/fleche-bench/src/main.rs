//! `cargo xtask bench …`: what fleche costs, beside peers measured in the same run.
//!
//! Each figure is a median over rounds in which all that is compared takes turns, so that what else the machine does
//! falls on all alike.

mod alone;
mod caches;
mod chart;
mod claims;
mod cold;
mod executors;
mod fresh;
mod hits;
#[cfg(target_os = "linux")]
mod large;
mod machine;
mod many;
mod misses;
mod plain;
mod rounds;
mod scratch;
mod stores;
mod table;

use std::{fs, path::PathBuf, process::ExitCode};

use clap::{
    Parser,
    builder::{PossibleValue, PossibleValuesParser},
};

use table::{Report, Table};

/// A benchmark: what it is called, what it measures, and what runs it, in small where it is to be quick.
struct Benchmark(&'static str, &'static str, fn(quick: bool) -> Result<Table, String>);

/// Every benchmark. A new one is a module and a line.
const ALL: &[Benchmark] = &[
    Benchmark("hits", "What a hit costs in memory, beside caches that never persist", hits::run),
    Benchmark("cold", "What the first hit of a process costs in files and in redb", cold::run),
    Benchmark("misses", "What a miss costs around a trivial body", misses::run),
    #[cfg(target_os = "linux")]
    Benchmark("large", "What large values cost, beside what has to be done with their bytes", large::run),
    Benchmark("claims", "What a claim costs where nobody else wants the call", claims::run),
    Benchmark("executors", "Calls a second through thread pools and process pools, missed and hit", executors::run),
    Benchmark("stores", "What stores cost, beside what they are made of", stores::run),
    // Last, for it removes very many files.
    Benchmark("many", "What stores cost that hold a million records", many::run),
];

/// Benchmarks of fleche.
#[derive(Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Arguments {
    /// What to measure; everything where nothing is named
    #[arg(value_parser = PossibleValuesParser::new(ALL.iter().map(|Benchmark(name, about, _)| PossibleValue::new(*name).help(*about))))]
    what: Vec<String>,
    /// Fewer rounds over less work: shows that everything runs, and nothing of how fast
    #[arg(long)]
    quick: bool,
    /// Writes a chart of all that has a target into this file, in SVG
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
}

fn main() -> ExitCode {
    // Workers of process pools are this program.
    #[cfg(target_os = "linux")]
    fleche_exec::init();
    let ran = run(&Arguments::parse());
    match ran.and(scratch::remove()) {
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
    fs::write(file, chart::svg(&report)).map_err(|error| format!("cannot write {}: {error}", file.display()))
}
