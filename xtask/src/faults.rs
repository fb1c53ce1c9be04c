//! `cargo xtask faults`: makes every operation of every store fail in every way, and checks what users' calls return.

use fleche_conformance::faults::{Fault, run_faults, run_panics};

use crate::{matrix::aligned, selected::Selected};

/// The arguments of `cargo xtask faults`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    selected: Selected,
}

/// Runs the script for every combination of backend, fault and operation.
///
/// # Errors
/// Fails if a backend is unknown, or with one line for each check that failed.
pub(crate) fn run(arguments: &Arguments) -> Result<(), String> {
    let header = std::iter::once("failed operations".to_owned());
    let faults = Fault::ALL.map(|fault| format!("{fault:?}"));
    let mut rows: Vec<Vec<String>> = vec![header.chain(faults).chain(["panics in types".to_owned()]).collect()];
    let mut failures = Vec::new();
    for backend in arguments.selected.all()? {
        let mut row = vec![backend.name.to_owned()];
        for fault in Fault::ALL {
            let report = run_faults(backend, fault);
            row.push(report.operations.to_string());
            failures.extend(report.failures.into_iter().map(|failure| format!("{}: {failure}", backend.name)));
        }
        let panics = run_panics(backend);
        row.push(panics.parts.to_string());
        failures.extend(panics.failures.into_iter().map(|failure| format!("{}: {failure}", backend.name)));
        rows.push(row);
    }
    print!("{}", aligned(&rows));
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}
