//! `cargo xtask bench …`: what fleche costs, beside peers measured in the same run.
//!
//! Each figure is a median over rounds in which all that is compared takes turns, so that what else the machine does
//! falls on all alike.

mod claims;
mod executors;
mod hits;
mod machine;
mod many;
mod plain;
mod rounds;
mod stores;
mod table;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Benchmarks of fleche.
#[derive(Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Arguments {
    #[command(subcommand)]
    what: What,
    /// Fewer rounds over less work: shows that everything runs, and nothing of how fast
    #[arg(long, global = true)]
    quick: bool,
}

#[derive(Subcommand)]
enum What {
    /// Calls a second through thread pools and process pools, missed and hit
    Executors,
    /// What a claim costs where nobody else wants the call
    Claims,
    /// What stores cost, beside what they are made of
    Stores,
    /// What a hit costs in front of the stores, beside caches that never persist
    Hits,
    /// What stores with a million records cost, beside ones with a thousand
    Many,
}

fn main() -> ExitCode {
    // Workers of process pools are this program.
    #[cfg(target_os = "linux")]
    fleche_exec::init();
    let Arguments { what, quick } = Arguments::parse();
    print!("{}", machine::header());
    let measured = match what {
        What::Executors => executors::run(quick),
        What::Claims => claims::run(quick),
        What::Stores => stores::run(quick),
        What::Hits => hits::run(quick),
        What::Many => many::run(quick),
    };
    match measured {
        Ok(table) => {
            print!("{table}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
