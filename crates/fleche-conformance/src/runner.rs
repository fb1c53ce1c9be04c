//! Runs cases: each on a thread of its own, so that one that panics or hangs fails alone.

use std::{
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use fleche_core::store::BackendInfo;

use crate::{
    capture::capture,
    case::Case,
    fixture::Fixture,
    report::{Outcome, Report},
    selection::{Selection, backend},
};

/// A case that runs for so long is taken for a deadlock. No case needs a tenth of it.
const PATIENCE: Duration = Duration::from_mins(10);

/// Runs these cases, one after the other. A case that panics, or has not returned after ten minutes, is a failure of that
/// case; the others run all the same.
pub fn run(backend: &'static BackendInfo, selection: &Selection) -> Report {
    Report { backend: backend.name, outcomes: selection.cases().iter().map(|case| run_case(backend, case)).collect() }
}

/// Runs one case for the backend of this name: what each `#[test]` of [`suite!`](crate::suite) does.
///
/// # Panics
/// If the backend fails the case, or where either name leads nowhere.
pub fn check(backend_name: &str, case: &str) {
    let backend = backend(backend_name).unwrap_or_else(|error| panic!("{error}"));
    let selection = Selection::named([case]).unwrap_or_else(|error| panic!("{error}"));
    for Outcome { case, failure, .. } in run(backend, &selection).outcomes {
        if let Some(failure) = failure {
            panic!("backend `{backend_name}` fails `{case}`: {failure}");
        }
    }
}

fn run_case(backend: &'static BackendInfo, case: &'static Case) -> Outcome {
    let begun = Instant::now();
    let (done, outcome) = mpsc::channel();
    let started = thread::Builder::new().name(case.name.to_owned()).spawn(move || {
        let result = capture(|| (case.test)(&Fixture::new(backend)));
        // Nobody listens any more where the case has been given up.
        let _ = done.send(result);
    });
    let failure = match started {
        Err(error) => Some(format!("no thread to run it on: {error}")),
        Ok(_) => match outcome.recv_timeout(PATIENCE) {
            Ok(result) => result.err(),
            Err(RecvTimeoutError::Timeout) => Some(format!("no end after {PATIENCE:?}: a deadlock?")),
            Err(RecvTimeoutError::Disconnected) => Some("its thread died".to_owned()),
        },
    };
    Outcome { case: case.name, seconds: begun.elapsed().as_secs_f64(), failure }
}
