//! Damage to the files of a store, wherever it strikes: calls return what they should, and what is damaged heals.

mod damage;
mod files;
mod look;

use std::{fmt, path::Path, sync::Arc, time::Duration};

use fleche_core::store::BackendInfo;

use crate::patience::within;
use damage::damages;
use files::{Files, copy};
use look::{Known, Outcome, look};

/// Looking at one damaged copy takes no more than this.
const PATIENCE: Duration = Duration::from_mins(1);
/// After so many failures the rest would tell nothing new.
const ENOUGH: usize = 20;

/// How many places are damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// About so many, spread evenly over the kinds of damage and over what is in the files.
    About(usize),
    /// Every 64 bytes get a flipped bit, every page is zeroed, and so on.
    All,
}

/// What came of damaging a store.
#[derive(Clone, Debug, Default)]
pub struct CorruptReport {
    /// How many files the store has; without any there is nothing to damage.
    pub files: usize,
    /// How many times a copy of it was damaged.
    pub tried: usize,
    /// How often nothing was missing: what was damaged is not read, or is there twice.
    pub harmless: usize,
    /// How often entries were reported as damaged, or absent, and were computed again.
    pub reported: usize,
    /// How often the store did not open, with an error.
    pub refused: usize,
    /// Where calls run again and again, with the damage that led to it: the store does not take what was computed again.
    pub unhealed: Vec<String>,
    /// The panics inside a store, with the damage that led to each. The store, or else the cache, has turned them into
    /// errors.
    pub panicked: Vec<String>,
    /// What went wrong, with the damage that led to it.
    pub failures: Vec<String>,
}

impl fmt::Display for CorruptReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files, tried, harmless, reported, refused, unhealed, panicked, failures } = self;
        write!(
            f,
            "{files} files damaged {tried} times: {harmless} harmless, {reported} reported, {refused} refused, {} unhealed, \
             {} panics inside, {} failures",
            unhealed.len(),
            panicked.len(),
            failures.len()
        )
    }
}

/// Writes calls into stores of the backend, closes them, and damages copies of their files, each in one place. Each copy
/// is opened, or refused with an error; every call must return the right result, and afterwards be a hit.
///
/// # Errors
/// What kept it from doing so.
pub fn run_corruptions(backend: &'static BackendInfo, extent: Extent) -> Result<CorruptReport, String> {
    let scratch = tempfile::Builder::new().prefix("fleche-corrupt-").tempdir();
    let scratch = scratch.map_err(|error| format!("no directory to work in: {error}"))?;
    let original = scratch.path().join("original");
    let known = {
        let original = original.clone();
        within(PATIENCE, "write calls", move || Known::write(backend, &original)).and_then(|known| known)?
    };
    let known = Arc::new(known);
    let cannot = |what: &str, error: std::io::Error| format!("cannot {what} the files of a store: {error}");
    let files = Files::read(&original).map_err(|error| cannot("read", error))?;
    let mut report = CorruptReport { files: files.len(), ..CorruptReport::default() };
    for (nth, damage) in damages(&files, extent).into_iter().enumerate() {
        let place = scratch.path().join(nth.to_string());
        copy(&original, &place).map_err(|error| cannot("copy", error))?;
        damage.strike(&place).map_err(|error| cannot("damage", error))?;
        report.tried += 1;
        let looked = look_at(backend, &place, &known).map(|(outcome, panic)| {
            report.panicked.extend(panic.map(|panic| format!("{damage}: a panic in the store: {panic}")));
            outcome
        });
        match looked {
            Ok(Outcome::Harmless) => report.harmless += 1,
            Ok(Outcome::Reported) => report.reported += 1,
            Ok(Outcome::Refused) => report.refused += 1,
            Ok(Outcome::Unhealed(why)) => report.unhealed.push(format!("{damage}: {why}")),
            Err(why) => report.failures.push(format!("{damage}: {why}")),
        }
        // What a check that was given up still uses stays until the whole scratch goes.
        let _ = std::fs::remove_dir_all(&place);
        if report.failures.len() >= ENOUGH {
            break;
        }
    }
    Ok(report)
}

fn look_at(
    backend: &'static BackendInfo,
    place: &Path,
    known: &Arc<Known>,
) -> Result<(Outcome, Option<String>), String> {
    let (place, known) = (place.to_owned(), known.clone());
    within(PATIENCE, "look at damage", move || look(backend, &place, &known)).and_then(|outcome| outcome)
}
