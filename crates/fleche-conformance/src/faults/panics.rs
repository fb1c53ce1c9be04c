//! Lets the code of users' types panic, with stores of every backend: the calls return what they should, each body runs once,
//! and the stores keep working.

use std::{cell::Cell, mem, time::Duration};

use fleche_core::{Cache, cache::HotTier, fleche, store::BackendInfo};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    fixture::Fixture,
    patience::within,
    peer::Program,
    subject::{Call, Scene, count},
};

/// The time limit of one part, for slow stores too.
const PATIENCE: Duration = Duration::from_mins(1);

/// A part of a type that the cache calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Serialize,
    Deserialize,
    PartialEq,
    Clone,
    Drop,
}

const PARTS: [Part; 5] = [Part::Serialize, Part::Deserialize, Part::PartialEq, Part::Clone, Part::Drop];

/// The outcome of letting every part of a user's type panic.
#[derive(Clone, Debug, Default)]
pub struct PanicReport {
    /// How many parts panicked.
    pub parts: usize,
    /// What went wrong, with the part that panicked.
    pub failures: Vec<String>,
}

/// Makes calls on stores of the backend while one part after another of their arguments and results panics.
pub fn run_panics(backend: &'static BackendInfo) -> PanicReport {
    let mut report = PanicReport::default();
    for part in PARTS {
        let outcome = within(PATIENCE, "panics", move || run_one(backend, part)).and_then(|outcome| outcome);
        report.failures.extend(outcome.err().map(|why| format!("a panic in {part:?}: {why}")));
        report.parts += 1;
    }
    report
}

fn run_one(backend: &'static BackendInfo, part: Part) -> Result<(), String> {
    let fixture = Fixture::new(backend, Program::this());
    let cache = Cache::of(fixture.open_values(), fixture.open_calls(), true);
    for cache in [cache.hot_tier(HotTier::OFF), cache] {
        let scene = Scene::new();
        cache.scope(|| calls(scene, part))?;
        // The stores still work.
        let before = scene.runs();
        cache.scope(|| [0, 1].into_iter().try_for_each(|_| scene.call(Call::Long(1, 100))))?;
        expect(scene.runs() - before, 1, "bodies after the panics")?;
    }
    Ok(())
}

fn calls(scene: Scene, part: Part) -> Result<(), String> {
    let id = scene.id();
    let argument = || match part {
        Part::Serialize => taken::<0>(id, &Fragile(2)),
        Part::Deserialize => taken::<1>(id, &Fragile(2)),
        Part::PartialEq => taken::<2>(id, &Fragile(2)),
        Part::Clone => taken::<3>(id, &Fragile(2)),
        Part::Drop => {
            let fragile = Fragile(2);
            let taken = taken::<4>(id, &fragile);
            mem::forget(fragile);
            taken
        }
    };
    expect(while_panics(part, argument), 3, "the result of a call with an argument that panics")?;
    expect(scene.runs(), 1, "bodies of a call with an argument that panics")?;
    let computed = while_panics(part, || value_of(given(id, 5)));
    expect(computed, 5, "a result that panics")?;
    expect(scene.runs(), 2, "bodies of a call with a result that panics")?;
    // Recorded now, if it was not before.
    expect(value_of(given(id, 5)), 5, "a result that has panicked")?;
    let before = scene.runs();
    let found = while_panics(part, || value_of(given(id, 5)));
    expect(found, 5, "a recorded result that panics")?;
    if scene.runs() - before > 1 { Err("a body has run more than once".to_owned()) } else { Ok(()) }
}

fn expect(found: u64, right: u64, what: &str) -> Result<(), String> {
    if found == right { Ok(()) } else { Err(format!("{what}: {found}, not {right}")) }
}

thread_local! {
    static PANICS: Cell<Option<Part>> = const { Cell::new(None) };
}

/// Runs the closure while this part of every [`Fragile`] panics on this thread.
fn while_panics<R>(part: Part, run: impl FnOnce() -> R) -> R {
    PANICS.set(Some(part));
    let result = run();
    PANICS.set(None);
    result
}

fn reach(part: Part) {
    assert!(PANICS.get() != Some(part), "{part:?} of a user's type panics, as it was told to");
}

/// A user's type that panics where it is told to.
#[derive(Debug)]
struct Fragile(u64);

impl Serialize for Fragile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        reach(Part::Serialize);
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Fragile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Self(u64::deserialize(deserializer)?);
        reach(Part::Deserialize);
        Ok(value)
    }
}

impl PartialEq for Fragile {
    fn eq(&self, other: &Self) -> bool {
        reach(Part::PartialEq);
        self.0 == other.0
    }
}

impl Clone for Fragile {
    fn clone(&self) -> Self {
        reach(Part::Clone);
        Self(self.0)
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        reach(Part::Drop);
    }
}

/// Returns the content of the value, and forgets the value without dropping it.
fn value_of(fragile: Fragile) -> u64 {
    let value = fragile.0;
    mem::forget(fragile);
    value
}

/// One function for each part, since a function whose arguments failed a check records nothing any more.
#[fleche]
fn taken<const PART: u8>(scene: u64, fragile: &Fragile) -> u64 {
    count(scene);
    fragile.0 + 1
}

#[fleche]
fn given(scene: u64, x: u64) -> Fragile {
    count(scene);
    Fragile(x)
}
