//! Claim holders that fail, and claim holders that are stopped.

use std::path::{Path, PathBuf};

use fleche_core::{active_cache, fleche};
use nix::sys::signal::Signal;

use super::program::{Program, cache, note, noted, until};

/// Fails if it is the first body to run, as soon as another program waits.
#[fleche]
fn fails_first(#[by_name] directory: PathBuf, panics: bool) -> Result<u64, String> {
    note(&directory, "fails first");
    if noted(&directory).len() > 1 {
        return Ok(5);
    }
    until("another program waits", || directory.join("waits").exists());
    assert!(!panics, "the first one panics");
    Err("the first one fails".to_owned())
}

/// Command `fails panics|errs`: how the first body fails.
pub(crate) fn fails(directory: &Path, words: &[&str]) -> String {
    let panics = words[0] == "panics";
    let call = || fails_first(directory.to_owned(), panics);
    let result = std::panic::catch_unwind(call).unwrap_or_else(|_| Err("it panicked".to_owned()));
    format!("{result:?} {}", active_cache().stats().takeovers)
}

#[test]
fn waiter_computes_after_the_claim_holder_fails() {
    for how in ["errs", "panics"] {
        let directory = tempfile::tempdir().unwrap();
        let (mut first, mut other) = (Program::start(directory.path()), Program::start(directory.path()));
        first.tell(&format!("fails {how}"));
        until("a body runs", || !noted(directory.path()).is_empty());
        other.tell(&format!("fails {how}"));
        // The other program can only wait. Whether it does so yet makes no difference.
        std::fs::write(directory.path().join("waits"), b"").unwrap();
        assert!(first.answer().unwrap().starts_with("Err"));
        assert!(other.answer().unwrap().starts_with("Ok(5)"));
        assert_eq!(noted(directory.path()).len(), 2);
    }
}

#[fleche(wait_timeout = "100ms")]
fn impatient(#[by_name] directory: PathBuf) -> u64 {
    note(&directory, "impatient");
    until("the body may end", || directory.join("end").exists());
    8
}

#[fleche]
fn patient(#[by_name] directory: PathBuf) -> u64 {
    note(&directory, "patient");
    until("the body may end", || directory.join("end").exists());
    9
}

/// Command `stops impatient|patient`: the call to make.
pub(crate) fn stops(directory: &Path, words: &[&str]) -> String {
    let directory = directory.to_owned();
    if words[0] == "impatient" { impatient(directory) } else { patient(directory) }.to_string()
}

#[test]
fn stopped_claim_holder_delays_waiters_up_to_their_wait_timeout() {
    let directory = tempfile::tempdir().unwrap();
    let (mut first, mut other) = (Program::start(directory.path()), Program::start(directory.path()));
    for (who, bodies) in [("impatient", 2), ("patient", 3)] {
        let before = noted(directory.path()).len();
        first.tell(&format!("stops {who}"));
        until("the first body runs", || noted(directory.path()).len() > before);
        first.stop();
        std::fs::write(directory.path().join("end"), b"").unwrap();
        other.tell(&format!("stops {who}"));
        if who == "impatient" {
            assert_eq!(other.answer().as_deref(), Some("8"));
            first.signal(Signal::SIGCONT);
        } else {
            first.signal(Signal::SIGCONT);
            assert_eq!(other.answer().as_deref(), Some("9"));
        }
        assert!(first.answer().is_some());
        assert_eq!(noted(directory.path()).len(), bodies);
        std::fs::remove_file(directory.path().join("end")).unwrap();
    }
    drop((first, other));
    assert_eq!(cache(directory.path()).scope(|| patient::load(directory.path().to_owned())).unwrap(), Some(9));
}
