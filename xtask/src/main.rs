//! `cargo xtask …`: what developers of this workspace, and its checks, run.

mod bench;
mod conformance;
mod corrupt;
mod crash;
mod dev_builds;
mod document;
mod excused;
mod faults;
mod fuzz_stores;
mod instructions;
mod layers;
mod matrix;
#[cfg(unix)]
mod postgres;
mod selected;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

// Naming a crate of backends or executors links it, and so puts them into the matrix.
use fleche_example_backend as _;
use fleche_exec as _;
use fleche_store_file as _;
use fleche_store_memory as _;
use fleche_store_redb as _;
use fleche_store_sled as _;
use fleche_store_sql as _;

/// Tools of the fleche workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measures what fleche costs, beside peers.
    Bench(bench::Arguments),
    /// Runs the conformance suite for every backend and executor, and prints who shows which behaviour.
    Conformance(conformance::Arguments),
    /// Damages the files of a store, and looks at what users' calls return.
    Corrupt(corrupt::Arguments),
    /// Kills processes that use a store, and compares what is left with what they had acknowledged.
    Crash(crash::Arguments),
    /// What `crash` starts and kills.
    #[command(hide = true)]
    CrashChild(crash::ChildArguments),
    /// Measures hits of large values in development builds, by the settings in `Cargo.toml`.
    DevBuilds(dev_builds::Arguments),
    /// Lets every operation of a store fail, and looks at what users' calls return.
    Faults(faults::Arguments),
    /// Compares every store with a map over random sequences of operations.
    FuzzStores(fuzz_stores::Arguments),
    /// Counts the instructions of hits and misses, and fails where they have become more.
    Instructions(instructions::Arguments),
    /// Runs a command while there is a scratch server of PostgreSQL, which `FLECHE_POSTGRES` names.
    #[cfg(unix)]
    Postgres(postgres::Arguments),
    /// Checks the layout rules that the compiler does not know.
    Tidy,
}

fn main() -> ExitCode {
    fleche_conformance::run_peer();
    // Workers of process pools are this program.
    #[cfg(target_os = "linux")]
    fleche_exec::init();
    let result = match Arguments::parse().command {
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Conformance(arguments) => conformance::run(&arguments),
        Command::Corrupt(arguments) => corrupt::run(&arguments),
        Command::Crash(arguments) => crash::run(&arguments),
        Command::CrashChild(arguments) => crash::run_child(&arguments),
        Command::DevBuilds(arguments) => dev_builds::run(&arguments),
        Command::Faults(arguments) => faults::run(&arguments),
        Command::FuzzStores(arguments) => fuzz_stores::run(&arguments),
        Command::Instructions(arguments) => instructions::run(&arguments),
        #[cfg(unix)]
        Command::Postgres(arguments) => postgres::run(&arguments),
        Command::Tidy => tidy::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}
