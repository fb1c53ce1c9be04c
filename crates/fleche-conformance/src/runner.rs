//! Runs cases: each on a thread of its own, so that one that panics or hangs fails alone.

use std::time::{Duration, Instant};

use fleche_core::{executor::ExecutorInfo, store::BackendInfo};

use crate::{
    case::ExecutorCase,
    executors::Workplace,
    fixture::Fixture,
    patience::within,
    peer::{Program, run_peer},
    report::{Outcome, Report},
    selection::{Selection, backend, executor},
};

/// A case that runs for so long is taken for a deadlock. No case needs a tenth of it.
const PATIENCE: Duration = Duration::from_mins(10);

/// Runs these cases, one after the other. A case that panics, or has not returned after ten minutes, is a failure of that
/// case; the others run all the same.
///
/// Where a case needs a second process, the program is started again with its own arguments; see [`run_peer`].
pub fn run(backend: &'static BackendInfo, selection: &Selection) -> Report {
    run_by(backend, selection, &Program::this())
}

/// As [`run`], from a `#[test]`, whose path with its crate this is: `concat!(module_path!(), "::name_of_the_test")`. Where a
/// case needs a second process, that runs this test alone.
pub fn run_in_test(backend: &'static BackendInfo, selection: &Selection, test: &str) -> Report {
    run_by(backend, selection, &Program::test(test))
}

fn run_by(backend: &'static BackendInfo, selection: &Selection, program: &Program) -> Report {
    run_peer();
    let outcomes = selection.cases().iter().copied().map(|case| {
        let program = program.clone();
        run_case(case.name, move || (case.test)(&Fixture::new(backend, program)))
    });
    Report { name: backend.name, outcomes: outcomes.collect() }
}

/// As [`run`], for an executor.
pub fn run_executor(executor: &'static ExecutorInfo, selection: &Selection<ExecutorCase>) -> Report {
    let outcomes = selection
        .cases()
        .iter()
        .copied()
        .map(|case| run_case(case.name, move || (case.test)(&Workplace::new(executor))));
    Report { name: executor.name, outcomes: outcomes.collect() }
}

/// Runs one case for the backend of this name: what each `#[test]` of [`suite!`](crate::suite) does. `test` is the test's
/// path with its crate, as `module_path!()` gives it: a second process runs the same test.
///
/// # Panics
/// If the backend fails the case, or where either name leads nowhere.
pub fn check(backend_name: &str, case: &str, test: &str) {
    run_peer();
    let backend = backend(backend_name).unwrap_or_else(|error| panic!("{error}"));
    let selection = Selection::named([case]).unwrap_or_else(|error| panic!("{error}"));
    panic_at_failure("backend", &run_by(backend, &selection, &Program::test(test)));
}

/// As [`check`], for the executor of this name: what each `#[test]` of [`executor_suite!`](crate::executor_suite) does.
///
/// # Panics
/// If the executor fails the case, or where either name leads nowhere.
pub fn check_executor(executor_name: &str, case: &str) {
    let executor = executor(executor_name).unwrap_or_else(|error| panic!("{error}"));
    let selection = Selection::named([case]).unwrap_or_else(|error| panic!("{error}"));
    panic_at_failure("executor", &run_executor(executor, &selection));
}

fn panic_at_failure(of: &str, report: &Report) {
    for Outcome { case, failure, .. } in &report.outcomes {
        if let Some(failure) = failure {
            panic!("{of} `{}` fails `{case}`: {failure}", report.name);
        }
    }
}

fn run_case(case: &'static str, test: impl FnOnce() + Send + 'static) -> Outcome {
    let begun = Instant::now();
    let failure = within(PATIENCE, case, test).err();
    Outcome { case, seconds: begun.elapsed().as_secs_f64(), failure }
}
