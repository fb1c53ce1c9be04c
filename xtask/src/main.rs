//! `cargo xtask …`: the tools that developers of this workspace and its CI run.

mod backends;
mod bench;
mod conformance;
mod crash;
mod dev_builds;
mod faults;
mod instructions;
#[cfg(unix)]
mod postgres;
mod public_api;
mod report;
#[cfg(unix)]
mod scratch;
#[cfg(target_os = "linux")]
mod slurm;
#[cfg(target_os = "linux")]
mod sshd;
mod store_checks;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

// Naming a crate links it, which registers its backends or executors.
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
    /// Measure what fleche costs, compared with peers.
    Bench(bench::Arguments),
    /// Run the conformance suite for every backend and executor, and print the results as a matrix.
    Conformance(conformance::Arguments),
    /// Damage the files of a store, and check the results of users' calls.
    Corrupt(store_checks::CorruptArguments),
    /// Kill processes that use a store, and compare the entries that they leave with those that they had acknowledged.
    Crash(crash::Arguments),
    /// The process that `crash` starts and kills.
    #[command(hide = true)]
    CrashChild(crash::ChildArguments),
    /// Measure hits of large values in development builds with the settings in `Cargo.toml`.
    DevBuilds(dev_builds::Arguments),
    /// Make every operation of a store fail, and check the results of users' calls.
    Faults(faults::Arguments),
    /// Compare every store with a map over random sequences of operations.
    FuzzStores(store_checks::FuzzArguments),
    /// Count the instructions of hits and misses, and fail if they have increased.
    Instructions(instructions::Arguments),
    /// Run a command with a temporary PostgreSQL server, whose URL is in `FLECHE_POSTGRES`.
    #[cfg(unix)]
    Postgres(postgres::Arguments),
    /// Compare the public API of the published crates with the committed listing.
    PublicApi(public_api::Arguments),
    /// Start a scratch cluster of Slurm on this machine, take it down, or run a command with one.
    #[cfg(target_os = "linux")]
    Slurm(slurm::Arguments),
    /// Run a command with a temporary SSH server, whose client's command line is in `FLECHE_SSH`.
    #[cfg(target_os = "linux")]
    Sshd(sshd::Arguments),
    /// Check the layout rules that the compiler does not enforce.
    Tidy,
}

fn main() -> ExitCode {
    if let Some(ended) = public_api::run_rustdoc() {
        return ended;
    }
    fleche_conformance::run_peer();
    // This program is also the worker of the process pools.
    #[cfg(target_os = "linux")]
    fleche_exec::init();
    let done = |result: Result<(), String>| result.map(|()| ExitCode::SUCCESS);
    let result = match Arguments::parse().command {
        Command::Bench(arguments) => done(bench::run(&arguments)),
        Command::Conformance(arguments) => done(conformance::run(&arguments)),
        Command::Corrupt(arguments) => done(store_checks::run_corrupt(&arguments)),
        Command::Crash(arguments) => done(crash::run(&arguments)),
        Command::CrashChild(arguments) => done(crash::run_child(&arguments)),
        Command::DevBuilds(arguments) => done(dev_builds::run(&arguments)),
        Command::Faults(arguments) => done(faults::run(&arguments)),
        Command::FuzzStores(arguments) => done(store_checks::run_fuzz(&arguments)),
        Command::Instructions(arguments) => done(instructions::run(&arguments)),
        #[cfg(unix)]
        Command::Postgres(arguments) => postgres::run(&arguments),
        Command::PublicApi(arguments) => done(public_api::run(&arguments)),
        #[cfg(target_os = "linux")]
        Command::Slurm(arguments) => slurm::run(&arguments),
        #[cfg(target_os = "linux")]
        Command::Sshd(arguments) => sshd::run(&arguments),
        Command::Tidy => done(tidy::run()),
    };
    result.unwrap_or_else(|message| {
        eprintln!("error: {message}");
        ExitCode::FAILURE
    })
}
