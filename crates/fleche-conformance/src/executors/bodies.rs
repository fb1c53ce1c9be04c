//! The functions that the cases of executors submit, which any worker of the same program can run.

use std::{
    ffi::CString,
    fs,
    io::Write,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use fleche_core::fleche;

/// The time limit for a waiting body, which is longer than any case makes it wait.
const TIMEOUT: Duration = Duration::from_mins(2);

/// Appends a line to this file, to record that a body runs.
fn note(log: &Path) {
    let mut file = fs::File::options().create(true).append(true).open(log).unwrap();
    writeln!(file, "a body runs").unwrap();
}

/// Waits until the file exists, so that a case can decide when the body returns.
#[allow(clippy::needless_pass_by_value)] // Submitted, with its argument.
pub(super) fn wait_for(file: PathBuf) {
    let since = Instant::now();
    while !file.exists() {
        assert!(since.elapsed() < TIMEOUT, "timed out waiting for {}", file.display());
        thread::park_timeout(Duration::from_millis(1));
    }
}

#[allow(clippy::needless_pass_by_value)] // Submitted, with its arguments.
pub(super) fn starts_then_waits(started: PathBuf, gate: PathBuf) {
    fs::write(started, "").unwrap();
    wait_for(gate);
}

#[fleche]
#[allow(clippy::needless_pass_by_value)] // Submitted, with its arguments.
pub(super) fn square(#[by_name] log: PathBuf, x: i64) -> i64 {
    note(&log);
    x * x
}

/// A function without the attribute that makes memoized calls.
pub(super) fn sum_of_squares(log: PathBuf, x: i64, y: i64) -> i64 {
    square(log.clone(), x) + square(log, y)
}

#[fleche]
#[allow(clippy::needless_pass_by_value)] // Submitted, with its arguments.
pub(super) fn refuses(#[by_name] log: PathBuf, x: i64) -> Result<i64, String> {
    note(&log);
    Err(format!("{x} is refused"))
}

#[fleche]
#[allow(clippy::needless_pass_by_value)] // Submitted, with its arguments.
pub(super) fn panics(#[by_name] log: PathBuf, x: i64) -> i64 {
    note(&log);
    panic!("{x} is too much");
}

/// Reverses text. A `CString` is encoded as one byte string, which is fast even in a build without optimization.
#[fleche]
pub(super) fn reversed(text: CString) -> CString {
    let mut bytes = text.into_bytes();
    bytes.reverse();
    CString::new(bytes).unwrap()
}

pub(super) fn next(x: u64) -> u64 {
    x + 1
}

#[allow(clippy::needless_pass_by_value)] // Submitted, with its argument.
pub(super) fn writes(log: PathBuf) {
    note(&log);
}
