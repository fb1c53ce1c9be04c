//! Runs cases, each on a thread of its own, so that a case that panics or hangs fails alone, and reports their outcomes; and
//! runs the second process of a case, which opens the stores as another program or a worker does.

use std::{
    env, fs,
    fs::File,
    io::Write as _,
    path::Path,
    process,
    time::{Duration, Instant},
};

use fleche_core::store::BackendInfo;
use serde::Serialize;

use crate::{
    capture::{capture, run_with_timeout},
    case::{Selection, backend},
    cases::environment,
    fixture::Fixture,
    peer_process::{OUTCOME, PeerOutcome, PeerStore, Program, REQUEST, REQUESTED, Request, Task, Visit},
    store_kind::{Calls, StoreKind, Values},
    test_data::Item,
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
    panic_if_failed("backend", &run_by(backend, &selection, &Program::test(test)));
}

pub(crate) fn panic_if_failed(of: &str, report: &Report) {
    for Outcome { case, failure, .. } in &report.outcomes {
        if let Some(failure) = failure {
            panic!("{of} `{}` fails `{case}`: {failure}", report.name);
        }
    }
}

pub(crate) fn run_case(case: &'static str, test: impl FnOnce() + Send + 'static) -> Outcome {
    let started = Instant::now();
    let failure = run_with_timeout(TIMEOUT, case, test).err();
    Outcome { case, seconds: started.elapsed().as_secs_f64(), failure }
}

/// The outcomes of cases for one backend or executor.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The name of the backend or executor.
    pub name: &'static str,
    /// The outcome of each selected case, in the order of the list.
    pub outcomes: Vec<Outcome>,
}

/// The outcome of one case.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The case's name.
    pub case: &'static str,
    /// The duration in seconds.
    pub seconds: f64,
    /// The message and location of the failure, or `None` if the case passed.
    pub failure: Option<String>,
}

impl Report {
    /// Returns whether at least one case ran and none failed.
    pub fn is_success(&self) -> bool {
        !self.outcomes.is_empty() && self.failures().next().is_none()
    }

    /// Returns the outcomes of the cases that failed.
    pub fn failures(&self) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().filter(|outcome| outcome.failure.is_some())
    }

    /// Returns the outcome of the case with this name, or `None` if it did not run.
    pub fn outcome(&self, case: &str) -> Option<&Outcome> {
        self.outcomes.iter().find(|outcome| outcome.case == case)
    }
}

/// Does the work of the second process of a case and exits, if this process was started as one.
///
/// The suite starts the program that runs it again, with the same arguments, to see a store from another process. A program
/// whose `main` does other work before it calls [`run`](crate::run) should call this first.
///
/// # Panics
/// Panics in the second process if the files of its request are missing.
pub fn run_peer() {
    let Some(directory) = env::var_os(REQUESTED) else { return };
    let directory = Path::new(&directory);
    let request = fs::read(directory.join(REQUEST)).expect("a peer can read its request");
    let request: Request = serde_json::from_slice(&request).expect("a peer understands its request");
    // The file is created first, since a task may give up the permission to do so.
    let mut file = File::create(directory.join(OUTCOME)).expect("a peer can write its outcome");
    let outcome = match request {
        Request::Visit(visit) => serde_json::to_vec(&visit.run()),
        Request::Task(task, pair) => serde_json::to_vec(&capture(|| match task {
            Task::Fork => environment::fork_in_peer(&pair),
            Task::LimitFiles { length } => environment::limited_in_peer(&pair, length),
            Task::ReadOnly { scene } => environment::read_only_in_peer(&pair, scene),
        })),
    };
    file.write_all(&outcome.expect("an outcome is JSON")).expect("a peer can write its outcome");
    process::exit(0);
}

impl Visit {
    fn run(&self) -> PeerOutcome {
        match &self.store {
            PeerStore::Values(config) => self.open_and_use::<Values>(config),
            PeerStore::Calls(config) => self.open_and_use::<Calls>(config),
        }
    }

    fn open_and_use<S: StoreKind>(&self, config: &S::Config) -> PeerOutcome {
        let visited = capture(|| {
            let opened = match S::try_open(config) {
                Ok(opened) => opened,
                Err(error) => return PeerOutcome::Refused(error.report().to_string()),
            };
            let found = opened.get(Item::small(self.look_for));
            opened.put(Item::small(self.put));
            // The store is closed before the process exits.
            drop(opened);
            PeerOutcome::Opened { found }
        });
        visited.unwrap_or_else(PeerOutcome::Failed)
    }
}
