//! `cargo xtask conformance`: every linked backend against every case.

use std::{fmt::Write as _, fs, path::PathBuf};

use fleche_conformance::{Case, Report, Selection, backend, cases};
use fleche_core::store::{BackendInfo, backends};
use serde::Serialize;

use crate::matrix::matrix;

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only this backend; may be given several times.
    #[arg(long = "backend", value_name = "NAME")]
    backends: Vec<String>,
    /// Only this case, or this group of cases; may be given several times.
    #[arg(long = "case", value_name = "NAME")]
    cases: Vec<String>,
    /// Writes what came of each case to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Says which backends and cases there are, and runs none.
    #[arg(long)]
    list: bool,
}

/// Runs what the arguments select.
///
/// # Errors
/// A message where a name is unknown, where there is nothing to run, and where a case fails.
pub(crate) fn run(arguments: &Arguments) -> Result<(), String> {
    let backends = select_backends(&arguments.backends)?;
    let selection = if arguments.cases.is_empty() { Ok(Selection::all()) } else { Selection::named(&arguments.cases) };
    let selection = selection.map_err(|error| error.to_string())?;
    if arguments.list {
        print!("{}", list(&backends, selection.cases()));
        return Ok(());
    }
    let reports: Vec<_> = backends.into_iter().map(|backend| fleche_conformance::run(backend, &selection)).collect();
    print!("{}", matrix(&reports));
    if let Some(file) = &arguments.json {
        let text = json(&reports).map_err(|error| error.to_string())?;
        fs::write(file, text).map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    }
    if reports.is_empty() || !reports.iter().all(Report::is_success) {
        let failed = reports.iter().map(|report| report.failures().count()).sum::<usize>();
        return Err(format!("{failed} failed; run one alone with --backend NAME --case NAME"));
    }
    Ok(())
}

fn select_backends(names: &[String]) -> Result<Vec<&'static BackendInfo>, String> {
    let linked = backends();
    if linked.is_empty() {
        return Err("no backend is linked into xtask: name its crate in xtask/src/main.rs".to_owned());
    }
    if names.is_empty() {
        return Ok(linked);
    }
    let wanted =
        names.iter().map(|name| backend(name)).collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    Ok(linked.into_iter().filter(|backend| wanted.iter().any(|wanted| wanted.name == backend.name)).collect())
}

fn list(backends: &[&BackendInfo], cases: &[&Case]) -> String {
    let mut text = String::from("Backends:\n");
    for backend in backends {
        let durable = if backend.durable { "durable" } else { "not durable" };
        let _ = writeln!(text, "  {:<10} {:?}, {durable}: {}", backend.name, backend.reach, backend.summary);
    }
    text += "Cases:\n";
    let width = cases.iter().map(|case| case.name.len()).max().unwrap_or(0);
    for case in cases {
        let _ = writeln!(text, "  {:<width$}  {} [{:?}]", case.name, case.description, case.needs);
    }
    text
}

fn json(reports: &[Report]) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Described {
        name: &'static str,
        description: &'static str,
        needs: fleche_conformance::Needs,
    }
    let cases: Vec<_> = cases()
        .iter()
        .map(|case| Described { name: case.name, description: case.description, needs: case.needs })
        .collect();
    serde_json::to_string_pretty(&serde_json::json!({ "cases": cases, "reports": reports }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(backends: &[&str], cases: &[&str]) -> Arguments {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Arguments { backends: owned(backends), cases: owned(cases), json: None, list: false }
    }

    #[test]
    fn a_run_of_one_case_succeeds_and_is_reported() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("report.json");
        let arguments = Arguments { json: Some(file.clone()), ..arguments(&["example"], &["values::absence"]) };
        run(&arguments).unwrap();
        let report: serde_json::Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
        assert_eq!(report["reports"][0]["backend"], "example");
        assert_eq!(report["reports"][0]["outcomes"][0]["case"], "values::absence");
        assert!(report["reports"][0]["outcomes"][0]["failure"].is_null());
    }

    #[test]
    fn unknown_names_are_errors_that_list_what_there_is() {
        let error = run(&arguments(&["nobody"], &[])).unwrap_err();
        assert!(error.contains("`nobody`") && error.contains("example"), "{error}");
        let error = run(&arguments(&[], &["nothing"])).unwrap_err();
        assert!(error.contains("`nothing`") && error.contains("values::absence"), "{error}");
    }

    #[test]
    fn the_list_names_backends_and_cases() {
        let text = list(&backends(), Selection::all().cases());
        assert!(text.contains("example") && text.contains("calls::later_format_stays"), "{text}");
    }
}
