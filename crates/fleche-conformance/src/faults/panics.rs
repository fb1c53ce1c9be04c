//! Makes the code of users' types panic, and checks that calls return the right results, bodies run once, and stores keep
//! working.

use std::{cell::Cell, mem, time::Duration};

use fleche_core::{Cache, cache::HotTier, fleche, store::BackendInfo};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    capture::run_with_timeout,
    fixture::Fixture,
    peer_process::Program,
    test_calls::{Call, Scene, count},
};

/// The time limit for one part, which also suffices for slow stores.
const TIMEOUT: Duration = Duration::from_mins(1);

/// The results of making one part of a user's type panic.
#[derive(Clone, Debug)]
pub struct PanicReport {
    /// The part that panicked.
    pub part: Part,
    /// The number of calls that were made while the part panicked.
    pub calls: u64,
    /// Descriptions of the failures.
    pub failures: Vec<String>,
}

/// Makes calls with stores of the backend while this part of their arguments and results panics.
pub fn run_panics(backend: &'static BackendInfo, part: Part) -> PanicReport {
    let outcome = run_with_timeout(TIMEOUT, "panics", move || run_one(backend, part)).and_then(|outcome| outcome);
    let (calls, failures) = match outcome {
        Ok(calls) => (calls, Vec::new()),
        Err(why) => (0, vec![format!("a panic in {part:?}: {why}")]),
    };
    PanicReport { part, calls, failures }
}

fn run_one(backend: &'static BackendInfo, part: Part) -> Result<u64, String> {
    let mut made = 0;
    let fixture = Fixture::new(backend, Program::this());
    let cache = Cache::new(fixture.open_values(), fixture.open_calls());
    for cache in [cache.to_builder().hot_tier(HotTier::OFF).build(), cache] {
        let scene = Scene::new();
        made += cache.scope(|| calls(scene, part))?;
        // The stores must still work.
        let before = scene.runs();
        cache.scope(|| [0, 1].into_iter().try_for_each(|_| scene.call(Call::Long(1, 100))))?;
        expect(scene.runs() - before, 1, "bodies after the panics")?;
    }
    Ok(made)
}

/// Makes calls while the part panics, and returns their number.
fn calls(scene: Scene, part: Part) -> Result<u64, String> {
    let id = scene.id();
    let argument = || match part {
        Part::Serialize => with_argument::<0>(id, &Tricky(2)),
        Part::Deserialize => with_argument::<1>(id, &Tricky(2)),
        Part::PartialEq => with_argument::<2>(id, &Tricky(2)),
        Part::Clone => with_argument::<3>(id, &Tricky(2)),
        Part::Drop => {
            let tricky = Tricky(2);
            let result = with_argument::<4>(id, &tricky);
            mem::forget(tricky);
            result
        }
    };
    expect(while_panics(part, argument), 3, "the result of a call with an argument that panics")?;
    expect(scene.runs(), 1, "bodies of a call with an argument that panics")?;
    let computed = while_panics(part, || defused(with_result(id, 5)));
    expect(computed, 5, "a result that panics")?;
    expect(scene.runs(), 2, "bodies of a call with a result that panics")?;
    // This call is recorded at the latest now.
    expect(defused(with_result(id, 5)), 5, "a result that has panicked")?;
    let before = scene.runs();
    let found = while_panics(part, || defused(with_result(id, 5)));
    expect(found, 5, "a recorded result that panics")?;
    if scene.runs() - before > 1 { Err("a body has run more than once".to_owned()) } else { Ok(3) }
}

fn expect(found: u64, right: u64, what: &str) -> Result<(), String> {
    if found == right { Ok(()) } else { Err(format!("{what}: found {found}, expected {right}")) }
}

/// A function with an instance for each part, since a function whose arguments failed a check no longer records anything.
#[fleche]
fn with_argument<const PART: u8>(scene: u64, tricky: &Tricky) -> u64 {
    count(scene);
    tricky.0 + 1
}

#[fleche]
fn with_result(scene: u64, x: u64) -> Tricky {
    count(scene);
    Tricky(x)
}

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
