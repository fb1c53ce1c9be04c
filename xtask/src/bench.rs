//! `cargo xtask bench`: builds the benchmarks with optimization and runs them.

use std::{
    ffi::OsString,
    process::{Command, Stdio},
};

use crate::report::{PERFORMANCE, update_document, workspace_file};

/// The arguments of `cargo xtask bench`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Build without optimization, to test quickly that everything runs; use with `-- --quick`
    #[arg(long)]
    debug: bool,
    /// Measure everything, and write the table to `docs/performance.md`, its chart next to it, and some rows to `README.md`
    #[arg(long, conflicts_with_all = ["debug", "what"])]
    write: bool,
    /// The arguments of the benchmarks; `-- --help` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "WHAT")]
    what: Vec<OsString>,
}

/// Builds and runs the benchmarks.
///
/// # Errors
/// Fails if the benchmarks cannot be built or run, or their results cannot be written.
pub(crate) fn run(Arguments { debug, write, what }: &Arguments) -> Result<(), String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["run", "--quiet", "--package", "fleche-bench"]);
    if !debug {
        command.arg("--release");
    }
    command.arg("--").args(what);
    if *write {
        command.arg("--chart").arg(workspace_file("docs/performance.svg")).stdout(Stdio::piped());
    }
    let run = command.stderr(Stdio::inherit()).spawn().and_then(std::process::Child::wait_with_output);
    let output = run.map_err(|error| format!("cannot run cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!("the benchmarks failed ({})", output.status));
    }
    if *write {
        let table = String::from_utf8_lossy(&output.stdout);
        print!("{table}");
        update_document(PERFORMANCE, "bench", &table)?;
        update_document("README.md", "bench", &quoted(&table)?)?;
    }
    Ok(())
}

/// The rows that `README.md` quotes: the benchmark, the row, and the label in `README.md`.
const QUOTED: [(&str, &str, &str); 3] = [
    ("hits", "hot hit of `(i64, &str, f64)`", "A call that this process has made before"),
    ("cold", "file, result of ≤ 64 B", "The first hit of a process, in files"),
    ("misses", "file, no metadata", "A miss around a trivial body, in files"),
];

fn quoted(table: &str) -> Result<String, String> {
    let line = |(benchmark, row, called): (&str, &str, &str)| {
        let begin = format!("| {benchmark} | {row} | ");
        let cells = table.lines().find_map(|line| line.strip_prefix(&begin)).map(|rest| rest.split(" | "));
        match cells.map(Iterator::collect::<Vec<_>>).as_deref() {
            Some([ours, peer, ratio, ..]) => {
                Ok(format!("- {called}: {ours}; {peer}; {ratio} (`cargo xtask bench {benchmark}`).\n"))
            }
            _ => Err(format!("the table has no row `{row}` of `{benchmark}`, which README.md quotes")),
        }
    };
    QUOTED.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_quoted_with_their_command_and_a_missing_row_is_named() {
        let row = |(benchmark, row, _)| format!("| {benchmark} | {row} | 3 ns | peer: 2 ns | 1.50 × | ≤ 1 × | ✗ |\n");
        let table: String = QUOTED.map(row).concat();
        let text = quoted(&table).unwrap();
        assert_eq!(text.lines().count(), QUOTED.len());
        assert!(text.contains(": 3 ns; peer: 2 ns; 1.50 × (`cargo xtask bench hits`)."), "{text}");
        assert!(quoted("").unwrap_err().contains("hot hit"));
    }
}
