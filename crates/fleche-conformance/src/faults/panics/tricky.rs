//! `Tricky`: a user's type whose trait implementations panic on demand.

use std::{cell::Cell, mem};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A part of a type that the cache calls. The cache never calls `Hash` or `Debug` of arguments and results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Called to encode arguments and results.
    Serialize,
    /// Called to decode results, and arguments that are checked.
    Deserialize,
    /// Called to compare arguments and results that are checked.
    PartialEq,
    /// Called to copy a result for the hot tier or for other callers.
    Clone,
    /// Called to drop arguments and results.
    Drop,
}

impl Part {
    /// All parts.
    pub const ALL: [Self; 5] = [Self::Serialize, Self::Deserialize, Self::PartialEq, Self::Clone, Self::Drop];
}

thread_local! {
    /// The part of every [`Tricky`] that panics on this thread.
    static PANICS: Cell<Option<Part>> = const { Cell::new(None) };
}

fn reaches(part: Part) {
    assert!(PANICS.get() != Some(part), "tricky {part:?}");
}

/// Runs the closure while this part of every [`Tricky`] panics on this thread.
pub fn while_panics<R>(part: Part, run: impl FnOnce() -> R) -> R {
    let before = PANICS.replace(Some(part));
    let result = run();
    PANICS.set(before);
    result
}

/// Makes this part of every [`Tricky`] panic on this thread until the thread has ended, including its destructors.
pub fn panics_from_now_on(part: Part) {
    PANICS.set(Some(part));
}

/// A value that panics in the part that [`while_panics`] or [`panics_from_now_on`] sets.
#[derive(Debug)]
pub struct Tricky(pub u64);

impl Serialize for Tricky {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        reaches(Part::Serialize);
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Tricky {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Self(u64::deserialize(deserializer)?);
        reaches(Part::Deserialize);
        Ok(value)
    }
}

impl PartialEq for Tricky {
    fn eq(&self, other: &Self) -> bool {
        reaches(Part::PartialEq);
        self.0 == other.0
    }
}

impl Clone for Tricky {
    fn clone(&self) -> Self {
        reaches(Part::Clone);
        Self(self.0)
    }
}

impl Drop for Tricky {
    fn drop(&mut self) {
        reaches(Part::Drop);
    }
}

/// Returns the content of the value, and forgets the value without dropping it.
pub fn defused(tricky: Tricky) -> u64 {
    let inner = tricky.0;
    mem::forget(tricky);
    inner
}
