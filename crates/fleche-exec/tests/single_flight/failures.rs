//! Claim holders that are killed, that fail, or that are stopped.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use fleche_core::{active_cache, fleche};
use nix::sys::signal::Signal;

use super::program::{Program, cache, forget, note, noted, nothing_is_locked, on_threads, until, work_for};

#[fleche]
fn endangered(#[by_name] directory: PathBuf, round: u64) -> u64 {
    note(&directory, &round.to_string());
    work_for(Duration::from_millis(30));
    round * 7
}

/// Command `fatal round`: four threads make one call.
pub(crate) fn fatal(directory: &Path, words: &[&str]) -> String {
    let round = words[0].parse().unwrap();
    on_threads(4, |_| endangered(directory.to_owned(), round))
}

const ROUNDS: u64 = 200;

#[test]
fn waiter_computes_after_the_claim_holder_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let mut programs: Vec<_> = (0..3).map(|_| Program::start(directory.path())).collect();
    let mut chance = 0x9e37_79b9_7f4a_7c15_u64;
    let mut taken_over = 0;
    // How long the survivors took after the kill, including their body.
    let mut needed = Vec::new();
    for round in 0..ROUNDS {
        forget(directory.path());
        for program in &mut programs {
            program.tell(&format!("fatal {round}"));
        }
        until("a body runs", || !noted(directory.path()).is_empty());
        // At any time until about the end of the body.
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        work_for(Duration::from_micros((chance >> 33) % 35_000));
        let first = &noted(directory.path())[0];
        let killed = programs.iter().position(|program| first.ends_with(&format!(" by {}", program.id()))).unwrap();
        programs[killed].signal(Signal::SIGKILL);
        let since = Instant::now();
        let expected = [(round * 7).to_string(), (round * 7).to_string()].join(" ");
        let expected = format!("{expected} {expected}");
        for (at, program) in programs.iter_mut().enumerate() {
            // The killed program may have answered before.
            assert!(program.answer().is_none_or(|answer| answer == expected) || at != killed);
        }
        needed.push(since.elapsed());
        let bodies = noted(directory.path()).len();
        assert!((1..=2).contains(&bodies), "round {round}: {bodies} bodies after one kill");
        taken_over += bodies - 1;
        programs[killed] = Program::start(directory.path());
    }
    assert!(taken_over > 0, "no claim holder was killed in time");
    // The median, since a busy machine may stall.
    needed.sort();
    let median = needed[needed.len() / 2];
    assert!(median < Duration::from_secs(2), "survivors need {median:?}, and {:?} at worst", needed.last());
    drop(programs);
    nothing_is_locked(directory.path()).unwrap();
}

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
