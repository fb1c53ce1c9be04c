//! `cargo xtask …`: what developers of this workspace, and its checks, run.

mod bench;
mod conformance;
mod matrix;
#[cfg(unix)]
mod postgres;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

// Naming a crate of backends or executors links it, and so puts them into the matrix.
use fleche_example_backend as _;
use fleche_exec as _;
use fleche_store_file as _;
use fleche_store_memory as _;
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
    /// Runs a command while there is a scratch server of PostgreSQL, which `FLECHE_POSTGRES` names.
    #[cfg(unix)]
    Postgres(postgres::Arguments),
    /// Checks the layout rules that the compiler does not know.
    Tidy,
}

fn main() -> ExitCode {
    // Workers of process pools are this program.
    #[cfg(target_os = "linux")]
    fleche_exec::init();
    let result = match Arguments::parse().command {
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Conformance(arguments) => conformance::run(&arguments),
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
