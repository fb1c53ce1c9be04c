//! `cargo xtask bench`: hands over to the benchmarks, built to be fast.

use std::{
    ffi::OsString,
    process::{Command, Stdio},
};

use crate::document;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Builds without optimisation: with `--quick`, to see in less time that everything runs
    #[arg(long)]
    debug: bool,
    /// Measures everything, and puts the table into `docs/performance.md` and its chart beside it
    #[arg(long, conflicts_with_all = ["debug", "what"])]
    write: bool,
    /// What the benchmarks are told; `-- --help` says what there is
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "WHAT")]
    what: Vec<OsString>,
}

/// Builds and runs the benchmarks.
///
/// # Errors
/// A message where they cannot be built or fail, or what they found cannot be written.
pub(crate) fn run(Arguments { debug, write, what }: &Arguments) -> Result<(), String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["run", "--quiet", "--package", "fleche-bench"]);
    if !debug {
        command.arg("--release");
    }
    command.arg("--").args(what);
    if *write {
        command.arg("--chart").arg(document::docs("performance.svg")).stdout(Stdio::piped());
    }
    let run = command.stderr(Stdio::inherit()).spawn().and_then(std::process::Child::wait_with_output);
    let output = run.map_err(|error| format!("cannot run cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!("the benchmarks ended with {}", output.status));
    }
    if *write {
        let table = String::from_utf8_lossy(&output.stdout);
        print!("{table}");
        document::write("bench", &table)?;
    }
    Ok(())
}
