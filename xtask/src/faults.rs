//! `cargo xtask faults`: lets every operation of every store fail, in every way, and looks at what users get.

use fleche_conformance::faults::{Fault, run_faults, run_panics};

use crate::{matrix::aligned, selected::Selected};

/// Whose stores fail.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    selected: Selected,
}

/// Runs the script for every backend, fault and operation.
///
/// # Errors
/// A message where a backend is unknown, and for everything that went wrong.
pub(crate) fn run(arguments: &Arguments) -> Result<(), String> {
    let header = std::iter::once("operations that failed".to_owned());
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
