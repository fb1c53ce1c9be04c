//! `cargo xtask bench`: hands over to the benchmarks, built to be fast.

use std::process::Command;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Builds without optimisation: with `--quick`, to see in less time that everything runs
    #[arg(long)]
    debug: bool,
    /// What the benchmarks are told; `--help` says what there is
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "WHAT")]
    what: Vec<String>,
}

/// Builds and runs the benchmarks.
///
/// # Errors
/// A message where they cannot be built or fail.
pub(crate) fn run(arguments: &Arguments) -> Result<(), String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["run", "--quiet", "--package", "fleche-bench"]);
    if !arguments.debug {
        command.arg("--release");
    }
    let status = command.arg("--").args(&arguments.what).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("the benchmarks ended with {status}")),
        Err(error) => Err(format!("cannot run cargo: {error}")),
    }
}
