//! `cargo xtask conformance`: every linked backend, and every linked executor, against every case of its kind.

use std::{fmt::Write as _, fs, path::PathBuf};

use fleche_conformance::{
    Case, ExecutorCase, Listed, Report, Selection, SelectionError, backend, cases, executor, executor_cases,
};
use fleche_core::{
    executor::{ExecutorInfo, executors},
    store::{BackendInfo, backends},
};
use serde::Serialize;

use crate::matrix::matrix;
#[cfg(unix)]
use crate::postgres;

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only this backend, and no executor unless one is named; may be given several times.
    #[arg(long = "backend", value_name = "NAME")]
    backends: Vec<String>,
    /// Only this executor, and no backend unless one is named; may be given several times.
    #[arg(long = "executor", value_name = "NAME")]
    executors: Vec<String>,
    /// Only this case, or this group of cases; may be given several times.
    #[arg(long = "case", value_name = "NAME")]
    cases: Vec<String>,
    /// Writes what came of each case to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Has cases with many or large entries put only this part of them, such as 0.1.
    #[arg(long, value_name = "PART", default_value = "1", value_parser = scale)]
    scale: f64,
    /// Says which backends and cases there are, and runs none.
    #[arg(long)]
    list: bool,
}

/// Runs what the arguments select.
///
/// # Errors
/// A message where a name is unknown, where there is nothing to run, and where a case fails.
pub(crate) fn run(arguments: &Arguments) -> Result<(), String> {
    fleche_conformance::set_scale(arguments.scale);
    let selected = Selected::of(arguments).map_err(|error| error.to_string())?;
    if arguments.list {
        print!("{}", selected.list());
        return Ok(());
    }
    #[cfg(unix)]
    if selected.needs_postgres() && !postgres::is_there() {
        return postgres::run_again();
    }
    run_here(&selected, arguments)
}

/// Runs what is selected, where everything is that it needs.
fn run_here(selected: &Selected, arguments: &Arguments) -> Result<(), String> {
    let reports = [selected.run_backends(), selected.run_executors()];
    for reports in reports.iter().filter(|reports| !reports.is_empty()) {
        println!("{}", matrix(reports));
    }
    let reports = reports.concat();
    if let Some(file) = &arguments.json {
        let text = json(&reports).map_err(|error| error.to_string())?;
        fs::write(file, text).map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    }
    if reports.is_empty() || !reports.iter().all(Report::is_success) {
        let failed = reports.iter().map(|report| report.failures().count()).sum::<usize>();
        return Err(format!("{failed} failed; run one alone with --backend NAME or --executor NAME, and --case NAME"));
    }
    Ok(())
}

fn scale(text: &str) -> Result<f64, String> {
    let scale = text.parse().ok().filter(|scale| *scale > 0.0 && *scale <= 1.0);
    scale.ok_or_else(|| "a scale is a number above 0 and up to 1".to_owned())
}

/// What to run. A kind without cases, or without anything to run them for, is left out.
struct Selected {
    backends: Vec<&'static BackendInfo>,
    cases: Option<Selection>,
    executors: Vec<&'static ExecutorInfo>,
    executor_cases: Option<Selection<ExecutorCase>>,
}

impl Selected {
    fn of(arguments: &Arguments) -> Result<Self, SelectionError> {
        let Arguments { backends: backend_names, executors: executor_names, cases: case_names, .. } = arguments;
        let all = backend_names.is_empty() && executor_names.is_empty();
        let named = |names: &[String]| names.iter().map(|name| backend(name)).collect::<Result<Vec<_>, _>>();
        let backends = if all { backends() } else { named(backend_names)? };
        let named = |names: &[String]| names.iter().map(|name| executor(name)).collect::<Result<Vec<_>, _>>();
        let executors = if all { executors() } else { named(executor_names)? };
        let (cases, executor_cases) = (select::<Case>(case_names), select::<ExecutorCase>(case_names));
        match (cases, executor_cases) {
            // A name that neither kind knows.
            (Err(error), Err(_)) => Err(error),
            (cases, executor_cases) => {
                Ok(Self { backends, cases: cases.ok(), executors, executor_cases: executor_cases.ok() })
            }
        }
    }

    /// Whether something runs for which there must be a server of PostgreSQL: executors run calls over every backend.
    #[cfg(unix)]
    fn needs_postgres(&self) -> bool {
        let is_backend = self.backends.iter().any(|backend| backend.name == postgres::BACKEND);
        !self.executors.is_empty() && self.executor_cases.is_some() || self.cases.is_some() && is_backend
    }

    fn run_backends(&self) -> Vec<Report> {
        let Some(cases) = &self.cases else { return Vec::new() };
        self.backends.iter().map(|backend| fleche_conformance::run(backend, cases)).collect()
    }

    fn run_executors(&self) -> Vec<Report> {
        let Some(cases) = &self.executor_cases else { return Vec::new() };
        self.executors.iter().map(|executor| fleche_conformance::run_executor(executor, cases)).collect()
    }

    fn list(&self) -> String {
        let mut text = String::from("Backends:\n");
        for backend in &self.backends {
            let durable = if backend.durable { "durable" } else { "not durable" };
            let _ = writeln!(text, "  {:<12} {:?}, {durable}: {}", backend.name, backend.reach, backend.summary);
        }
        text += "Executors:\n";
        for executor in &self.executors {
            let _ = writeln!(text, "  {:<12} {:?}: {}", executor.name, executor.reach, executor.summary);
        }
        text += "Cases:\n";
        for case in self.cases.iter().flat_map(Selection::cases) {
            let _ = writeln!(text, "  {:<38}  {} [{:?}]", case.name, case.description, case.needs);
        }
        for case in self.executor_cases.iter().flat_map(Selection::cases) {
            let _ = writeln!(text, "  {:<38}  {}", case.name, case.description);
        }
        text
    }
}

/// The cases of one kind that these names select; all of them without names.
fn select<C: Listed>(names: &[String]) -> Result<Selection<C>, SelectionError> {
    let groups = |name: &&String| C::list().iter().any(|case| case.name().split("::").next() == Some(name.as_str()));
    let known = |name: &&String| groups(name) || C::list().iter().any(|case| case.name() == name.as_str());
    match names {
        [] => Ok(Selection::all()),
        // Names of the other kind are left to the other kind.
        _ => Selection::named(names.iter().filter(|name| known(name) || !is_known(name))),
    }
}

/// Whether the name is one of a case or group of any kind.
fn is_known(name: &str) -> bool {
    let names = cases().iter().map(|case| case.name).chain(executor_cases().iter().map(|case| case.name));
    names.into_iter().any(|case| case == name || case.split("::").next() == Some(name))
}

fn json(reports: &[Report]) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Described {
        name: &'static str,
        description: &'static str,
        /// Of backends.
        #[serde(skip_serializing_if = "Option::is_none")]
        needs: Option<fleche_conformance::Needs>,
    }
    let of_backends = cases().iter().map(|case| Described {
        name: case.name,
        description: case.description,
        needs: Some(case.needs),
    });
    let of_executors =
        executor_cases().iter().map(|case| Described { name: case.name, description: case.description, needs: None });
    let cases: Vec<_> = of_backends.chain(of_executors).collect();
    serde_json::to_string_pretty(&serde_json::json!({ "cases": cases, "reports": reports }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    fleche_exec::worker_test!();

    fn arguments(backends: &[&str], executors: &[&str], cases: &[&str]) -> Arguments {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let (backends, executors, cases) = (owned(backends), owned(executors), owned(cases));
        Arguments { backends, executors, cases, json: None, scale: 1.0, list: false }
    }

    fn reported(arguments: Arguments) -> serde_json::Value {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("report.json");
        let arguments = Arguments { json: Some(file.clone()), ..arguments };
        run_here(&Selected::of(&arguments).unwrap(), &arguments).unwrap();
        serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
    }

    #[test]
    fn a_run_of_one_case_succeeds_and_is_reported() {
        let report = reported(arguments(&["example"], &[], &["values::absence"]));
        assert_eq!(report["reports"].as_array().unwrap().len(), 1);
        assert_eq!(report["reports"][0]["name"], "example");
        assert_eq!(report["reports"][0]["outcomes"][0]["case"], "values::absence");
        assert!(report["reports"][0]["outcomes"][0]["failure"].is_null());
    }

    #[test]
    fn executors_run_their_own_cases() {
        let report = reported(arguments(&[], &["serial"], &["executors::config", "executors::unknown_option"]));
        assert_eq!(report["reports"].as_array().unwrap().len(), 1);
        assert_eq!(report["reports"][0]["name"], "serial");
        assert_eq!(report["reports"][0]["outcomes"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn a_case_of_one_kind_runs_for_all_of_that_kind_and_for_no_other() {
        let report = reported(arguments(&[], &[], &["executors::config"]));
        let names: Vec<_> = report["reports"].as_array().unwrap().iter().map(|report| &report["name"]).collect();
        assert!(
            names.iter().any(|name| *name == "threads") && !names.iter().any(|name| *name == "memory"),
            "{names:?}"
        );
    }

    #[test]
    fn unknown_names_are_errors_that_list_what_there_is() {
        let error = run(&arguments(&["nobody"], &[], &[])).unwrap_err();
        assert!(error.contains("`nobody`") && error.contains("example"), "{error}");
        let error = run(&arguments(&[], &["nobody"], &[])).unwrap_err();
        assert!(error.contains("`nobody`") && error.contains("threads"), "{error}");
        let error = run(&arguments(&[], &[], &["nothing"])).unwrap_err();
        assert!(error.contains("`nothing`") && error.contains("values::absence"), "{error}");
    }

    #[test]
    fn the_list_names_backends_executors_and_cases() {
        let text = Selected::of(&arguments(&[], &[], &[])).unwrap().list();
        for name in ["example", "threads", "calls::later_format_stays", "executors::nested"] {
            assert!(text.contains(name), "{text}");
        }
    }
}
