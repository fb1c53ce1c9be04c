//! `cargo xtask conformance`: runs every case of the conformance suite for every linked backend and executor.

use std::{fmt::Write as _, fs, path::PathBuf};

use fleche_conformance::{
    Case, ExecutorCase, Listed, Report, Selection, SelectionError, backend, cases, executor, executor_cases,
};
use fleche_core::{
    executor::{ExecutorInfo, executors},
    store::{BackendInfo, backends},
};
use serde::Serialize;

#[cfg(unix)]
use crate::postgres;
use crate::report::matrix;

/// The arguments of `cargo xtask conformance`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Run only this backend, and no executor unless one is named; may be repeated.
    #[arg(long = "backend", value_name = "NAME")]
    backends: Vec<String>,
    /// Run only this executor, and no backend unless one is named; may be repeated.
    #[arg(long = "executor", value_name = "NAME")]
    executors: Vec<String>,
    /// Run only this case or group of cases; may be repeated.
    #[arg(long = "case", value_name = "NAME")]
    cases: Vec<String>,
    /// Write the outcome of each case to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Put only this fraction of the entries in cases with many or large ones, such as 0.1.
    #[arg(long, value_name = "PART", default_value = "1", value_parser = scale)]
    scale: f64,
    /// List the backends, executors and cases, and run none.
    #[arg(long)]
    list: bool,
}

/// Runs the selected cases.
///
/// # Errors
/// Fails if a name is unknown, if there is nothing to run, or if a case fails.
pub(crate) fn run(arguments: &Arguments) -> Result<(), String> {
    fleche_conformance::set_scale(arguments.scale);
    let selected = SelectedBackends::of(arguments).map_err(|error| error.to_string())?;
    if arguments.list {
        print!("{}", selected.list());
        return Ok(());
    }
    #[cfg(unix)]
    if selected.needs_postgres() && !postgres::is_installed() {
        return postgres::run_again();
    }
    run_here(&selected, arguments)
}

/// Runs the selected cases in this process, once the servers they need are available.
fn run_here(selected: &SelectedBackends, arguments: &Arguments) -> Result<(), String> {
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
        return Err(format!(
            "{failed} cases failed; run one alone with --backend NAME or --executor NAME, and --case NAME"
        ));
    }
    Ok(())
}

fn scale(text: &str) -> Result<f64, String> {
    let scale = text.parse().ok().filter(|scale| *scale > 0.0 && *scale <= 1.0);
    scale.ok_or_else(|| "the scale must be greater than 0 and at most 1".to_owned())
}

/// The backends and executors to run, with their cases. The cases of a kind are `None` if no name selects any of them.
struct SelectedBackends {
    backends: Vec<&'static BackendInfo>,
    cases: Option<Selection>,
    executors: Vec<&'static ExecutorInfo>,
    executor_cases: Option<Selection<ExecutorCase>>,
}

impl SelectedBackends {
    fn of(arguments: &Arguments) -> Result<Self, SelectionError> {
        let Arguments { backends: backend_names, executors: executor_names, cases: case_names, .. } = arguments;
        let all = backend_names.is_empty() && executor_names.is_empty();
        let named = |names: &[String]| names.iter().map(|name| backend(name)).collect::<Result<Vec<_>, _>>();
        let backends = if all { backends() } else { named(backend_names)? };
        let named = |names: &[String]| names.iter().map(|name| executor(name)).collect::<Result<Vec<_>, _>>();
        let executors = if all { executors() } else { named(executor_names)? };
        let (cases, executor_cases) = (select::<Case>(case_names), select::<ExecutorCase>(case_names));
        match (cases, executor_cases) {
            // A name is unknown to both kinds.
            (Err(error), Err(_)) => Err(error),
            (cases, executor_cases) => {
                Ok(Self { backends, cases: cases.ok(), executors, executor_cases: executor_cases.ok() })
            }
        }
    }

    /// Returns whether a selected case needs a PostgreSQL server. Cases of executors do, since they use every backend.
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

/// Returns the cases of one kind that these names select, or all of them if there are no names.
fn select<C: Listed>(names: &[String]) -> Result<Selection<C>, SelectionError> {
    let groups = |name: &&String| C::list().iter().any(|case| case.name().split("::").next() == Some(name.as_str()));
    let known = |name: &&String| groups(name) || C::list().iter().any(|case| case.name() == name.as_str());
    match names {
        [] => Ok(Selection::all()),
        // Names of the other kind are skipped; unknown names stay, and cause the error.
        _ => Selection::named(names.iter().filter(|name| known(name) || !is_known(name))),
    }
}

/// Returns whether this is the name of a case or a group of any kind.
fn is_known(name: &str) -> bool {
    let names = cases().iter().map(|case| case.name).chain(executor_cases().iter().map(|case| case.name));
    names.into_iter().any(|case| case == name || case.split("::").next() == Some(name))
}

fn json(reports: &[Report]) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Described {
        name: &'static str,
        description: &'static str,
        /// The property that the case requires; only cases of backends have one.
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
        run_here(&SelectedBackends::of(&arguments).unwrap(), &arguments).unwrap();
        serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
    }

    #[test]
    fn run_of_one_case_succeeds_and_is_reported() {
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
    fn executor_case_runs_for_all_executors_and_no_backend() {
        let report = reported(arguments(&[], &[], &["executors::config"]));
        let names: Vec<_> = report["reports"].as_array().unwrap().iter().map(|report| &report["name"]).collect();
        assert!(
            names.iter().any(|name| *name == "threads") && !names.iter().any(|name| *name == "memory"),
            "{names:?}"
        );
    }

    #[test]
    fn error_for_unknown_name_lists_known_names() {
        let error = run(&arguments(&["unknown"], &[], &[])).unwrap_err();
        assert!(error.contains("`unknown`") && error.contains("example"), "{error}");
        let error = run(&arguments(&[], &["unknown"], &[])).unwrap_err();
        assert!(error.contains("`unknown`") && error.contains("threads"), "{error}");
        let error = run(&arguments(&[], &[], &["nothing"])).unwrap_err();
        assert!(error.contains("`nothing`") && error.contains("values::absence"), "{error}");
    }

    #[test]
    fn list_names_backends_executors_and_cases() {
        let text = SelectedBackends::of(&arguments(&[], &[], &[])).unwrap().list();
        for name in ["example", "threads", "calls::later_format_is_kept", "executors::nested"] {
            assert!(text.contains(name), "{text}");
        }
    }
}
