//! The functions that the tests submit.

use std::{env, fs, path::PathBuf, process, thread, time::Duration};

use fleche_core::fleche;

use super::scratch::{note, wait_until};

#[fleche]
#[allow(clippy::needless_pass_by_value)] // Submitted, with its arguments.
pub(crate) fn square(#[by_name] log: PathBuf, x: u64) -> u64 {
    note(&log);
    x * x
}

/// Takes a moment, so that a node can fail in it.
#[fleche]
#[allow(clippy::needless_pass_by_value)] // Submitted, with its arguments.
pub(crate) fn slow_square(#[by_name] log: PathBuf, x: u64) -> u64 {
    note(&log);
    thread::park_timeout(Duration::from_millis(300));
    x * x
}

/// Notes that it runs, and waits for the file `gate`.
#[fleche]
#[allow(clippy::needless_pass_by_value)] // Submitted, with its arguments.
pub(crate) fn gated(#[by_name] log: PathBuf, #[by_name] gate: PathBuf, x: u64) -> u64 {
    note(&log);
    wait_until("the gate", || gate.exists());
    x + 1
}

pub(crate) fn exits(code: i32) {
    eprintln!("last words");
    process::exit(code);
}

pub(crate) fn is_killed(signal: i32) {
    let _ = process::Command::new("kill").arg(format!("-{signal}")).arg(process::id().to_string()).status();
    wait_until("the signal", || false);
}

pub(crate) fn never_ends() {
    loop {
        thread::park_timeout(Duration::from_mins(1));
    }
}

/// Returns the working directory, the variable `VALUE`, that of the prologue, and the number of processors of the job.
pub(crate) fn surroundings() -> (PathBuf, String, String, String) {
    let variable = |name| env::var(name).unwrap_or_default();
    (env::current_dir().unwrap(), variable("VALUE"), variable("FROM_PROLOGUE"), variable("SLURM_CPUS_PER_TASK"))
}

/// Starts the program of this job again, as a body may do, and returns whether it refused to run the job once more.
pub(crate) fn starts_itself() -> String {
    let program = fs::read_link("/proc/self/exe").unwrap();
    let output = process::Command::new(program).arg("--list").output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}
