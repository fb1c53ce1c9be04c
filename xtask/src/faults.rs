//! `cargo xtask faults`: makes every operation of every store fail in every way, and checks the results of users' calls.

#[cfg(unix)]
mod server;

use fleche_conformance::faults::{Fault, Part, run_faults, run_panics};

#[cfg(unix)]
use crate::postgres;
use crate::{backends::SelectedBackends, report::aligned};

/// The arguments of `cargo xtask faults`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    selected: SelectedBackends,
}

/// Runs the script for every combination of backend, fault and operation.
///
/// It also makes every part of a user's type panic, and stops and kills a PostgreSQL server.
///
/// # Errors
/// Fails if a backend is unknown, or with one line for each check that failed.
pub(crate) fn run(arguments: &Arguments) -> Result<(), String> {
    let backends = arguments.selected.all()?;
    #[cfg(unix)]
    if backends.iter().any(|backend| backend.name == postgres::BACKEND) && !postgres::is_installed() {
        return postgres::run_again();
    }
    let header = std::iter::once("failed operations".to_owned());
    let faults = Fault::ALL.map(|fault| format!("{fault:?}"));
    let panics = Part::ALL.map(|part| format!("{part:?} panics"));
    let header = header.chain(faults).chain(panics).chain(server_columns());
    let mut rows: Vec<Vec<String>> = vec![header.collect()];
    let mut failures = Vec::new();
    for backend in backends {
        let mut row = vec![backend.name.to_owned()];
        let mut note = |count: Option<u64>, failed: Vec<String>| {
            row.push(count.map_or_else(|| "-".to_owned(), |count| count.to_string()));
            failures.extend(failed.into_iter().map(|failure| format!("{}: {failure}", backend.name)));
        };
        for fault in Fault::ALL {
            let report = run_faults(backend, fault);
            note(Some(report.operations), report.failures);
        }
        for part in Part::ALL {
            let report = run_panics(backend, part);
            note(Some(report.calls), report.failures);
        }
        #[cfg(unix)]
        for failure in server::Failure::ALL {
            if backend.name != postgres::BACKEND {
                note(None, Vec::new());
                continue;
            }
            match server::run(failure) {
                Ok(calls) => note(Some(calls), Vec::new()),
                Err(why) => note(Some(0), vec![format!("server {failure:?}: {why}")]),
            }
        }
        rows.push(row);
    }
    print!("{}", aligned(&rows));
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}

#[cfg(unix)]
fn server_columns() -> impl Iterator<Item = String> {
    server::Failure::ALL.into_iter().map(|failure| format!("server {failure:?}"))
}

#[cfg(not(unix))]
fn server_columns() -> impl Iterator<Item = String> {
    std::iter::empty()
}
