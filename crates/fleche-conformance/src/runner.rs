//! Runs cases, each on a thread of its own, so that a case that panics or hangs fails alone.

use std::time::{Duration, Instant};

use fleche_core::{executor::ExecutorInfo, store::BackendInfo};

use crate::{
    case::ExecutorCase,
    executors::ExecutorFixture,
    fixture::Fixture,
    patience::within,
    peer::{Program, run_peer},
    report::{Outcome, Report},
    selection::{Selection, backend, executor},
};

/// The time limit of a case, after which it is assumed to be deadlocked. No case needs a tenth of it.
const TIMEOUT: Duration = Duration::from_mins(10);

/// Runs the selected cases for a backend, one after the other.
///
/// A case fails if it panics or has not returned after ten minutes; the other cases still run. If a case needs a second
/// process, this program is started again with its own arguments; see [`run_peer`].
pub fn run(backend: &'static BackendInfo, selection: &Selection) -> Report {
    run_by(backend, selection, &Program::this())
}

/// Runs the selected cases for a backend from a `#[test]`, like [`run`].
///
/// `test` is the path of the test, including its crate: `concat!(module_path!(), "::name_of_the_test")`. If a case needs a
/// second process, that process runs only this test.
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

/// Runs the selected cases for an executor, like [`run`].
pub fn run_executor(executor: &'static ExecutorInfo, selection: &Selection<ExecutorCase>) -> Report {
    let outcomes = selection
        .cases()
        .iter()
        .copied()
        .map(|case| run_case(case.name, move || (case.test)(&ExecutorFixture::new(executor))));
    Report { name: executor.name, outcomes: outcomes.collect() }
}

/// Runs one case for the backend with this name, as each `#[test]` of [`suite!`](crate::suite) does.
///
/// `test` is the path of the test, including its crate, since a second process runs the same test.
///
/// # Panics
/// Panics if the backend fails the case, or if either name is unknown.
pub fn check(backend_name: &str, case: &str, test: &str) {
    run_peer();
    let backend = backend(backend_name).unwrap_or_else(|error| panic!("{error}"));
    let selection = Selection::named([case]).unwrap_or_else(|error| panic!("{error}"));
    panic_at_failure("backend", &run_by(backend, &selection, &Program::test(test)));
}

/// Runs one case for the executor with this name, as each `#[test]` of [`executor_suite!`](crate::executor_suite) does.
///
/// # Panics
/// Panics if the executor fails the case, or if either name is unknown.
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
    let failure = within(TIMEOUT, case, test).err();
    Outcome { case, seconds: begun.elapsed().as_secs_f64(), failure }
}
