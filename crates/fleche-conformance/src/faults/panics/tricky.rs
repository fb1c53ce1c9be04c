//! `Tricky`: a user's type that panics where it is told to.

use std::{cell::Cell, mem};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A part of a type that the cache calls. It never calls `Hash` or `Debug` of arguments and results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The encoding of arguments and results.
    Serialize,
    /// The decoding of results, and of arguments that are checked.
    Deserialize,
    /// The comparison of arguments and results that are checked.
    PartialEq,
    /// The copy of a result that is kept in memory, or that other callers wait for.
    Clone,
    /// The end of all of these.
    Drop,
}

impl Part {
    /// Every part.
    pub const ALL: [Self; 5] = [Self::Serialize, Self::Deserialize, Self::PartialEq, Self::Clone, Self::Drop];
}

thread_local! {
    /// Which part of a [`Tricky`] panics on this thread.
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

/// Has this part of every [`Tricky`] panic on this thread as long as the thread lives, its end included.
pub fn panics_from_now_on(part: Part) {
    PANICS.set(Some(part));
}

/// A value that panics where [`while_panics`] says so.
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
