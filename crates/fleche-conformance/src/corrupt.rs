//! Damages the files of a store in many places, and checks that calls return the right results and repair the store.

mod damage;
mod verify;

use std::{fmt, path::Path, sync::Arc, time::Duration};

use fleche_core::store::BackendInfo;

use crate::capture::run_with_timeout;
use damage::{Files, copy, damages};
use verify::{Known, Outcome, verify};

pub use damage::Extent;

/// The time limit for the check of one damaged copy.
const TIMEOUT: Duration = Duration::from_mins(1);
/// The number of failures after which the run ends.
const MAX_FAILURES: usize = 20;

/// The results of damaging a store.
#[derive(Clone, Debug, Default)]
pub struct CorruptReport {
    /// The number of the store's files; without files there is nothing to damage.
    pub files: usize,
    /// The number of damaged copies.
    pub tried: usize,
    /// The number of copies in which nothing was missing, since the damaged part is not read or is stored twice.
    pub harmless: usize,
    /// The number of copies in which entries were reported as damaged or were absent, and were computed again.
    pub reported: usize,
    /// The number of copies that did not open, with an error.
    pub refused: usize,
    /// The damage after which the store does not record calls that are computed again, with a description of each.
    pub unrepaired: Vec<String>,
    /// The panics inside a store, each with the damage that caused it. The store or the cache turned them into errors.
    pub panicked: Vec<String>,
    /// The failures, each with the damage that caused it.
    pub failures: Vec<String>,
}

impl fmt::Display for CorruptReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files, tried, harmless, reported, refused, unrepaired, panicked, failures } = self;
        write!(
            f,
            "{files} files damaged {tried} times: {harmless} harmless, {reported} reported, {refused} refused, {} unrepaired, \
             {} internal panics, {} failures",
            unrepaired.len(),
            panicked.len(),
            failures.len()
        )
    }
}

/// Records calls in stores of the backend, closes them, and damages copies of their files, each in one place.
///
/// Each copy must open, or fail to open with an error. If it opens, every call must return the right result, and be a hit
/// afterwards.
///
/// # Errors
/// Fails if the calls cannot be recorded, or the files cannot be read, copied or damaged.
pub fn run_corruptions(backend: &'static BackendInfo, extent: Extent) -> Result<CorruptReport, String> {
    let scratch = tempfile::Builder::new().prefix("fleche-corrupt-").tempdir();
    let scratch = scratch.map_err(|error| format!("cannot create a temporary directory: {error}"))?;
    let original = scratch.path().join("original");
    let known = {
        let original = original.clone();
        run_with_timeout(TIMEOUT, "write calls", move || Known::write(backend, &original)).and_then(|known| known)?
    };
    let known = Arc::new(known);
    let cannot = |what: &str, error: std::io::Error| format!("cannot {what} the files of a store: {error}");
    let files = Files::read(&original).map_err(|error| cannot("read", error))?;
    let mut report = CorruptReport { files: files.len(), ..CorruptReport::default() };
    for (nth, damage) in damages(&files, extent).into_iter().enumerate() {
        let copied = scratch.path().join(nth.to_string());
        copy(&original, &copied).map_err(|error| cannot("copy", error))?;
        damage.apply(&copied).map_err(|error| cannot("damage", error))?;
        report.tried += 1;
        let checked = check_copy(backend, &copied, &known).map(|(outcome, panic)| {
            report.panicked.extend(panic.map(|panic| format!("{damage}: a panic in the store: {panic}")));
            outcome
        });
        match checked {
            Ok(Outcome::Harmless) => report.harmless += 1,
            Ok(Outcome::Reported) => report.reported += 1,
            Ok(Outcome::Refused) => report.refused += 1,
            Ok(Outcome::Unrepaired(why)) => report.unrepaired.push(format!("{damage}: {why}")),
            Err(why) => report.failures.push(format!("{damage}: {why}")),
        }
        // Files that a timed-out check still uses stay until the whole scratch directory is removed.
        let _ = std::fs::remove_dir_all(&copied);
        if report.failures.len() >= MAX_FAILURES {
            break;
        }
    }
    Ok(report)
}

fn check_copy(
    backend: &'static BackendInfo,
    copied: &Path,
    known: &Arc<Known>,
) -> Result<(Outcome, Option<String>), String> {
    let (copied, known) = (copied.to_owned(), known.clone());
    run_with_timeout(TIMEOUT, "check a damaged copy", move || verify(backend, &copied, &known))
        .and_then(|outcome| outcome)
}
