//! Makes the code of users' types panic, and checks that calls return the right results, bodies run once, and stores keep
//! working.

mod tricky;

pub use tricky::{Part, Tricky, defused, panics_from_now_on, while_panics};

use std::{mem, time::Duration};

use crate::{
    fixture::Fixture,
    patience::within,
    peer::Program,
    subject::{Call, Scene, count},
};
use fleche_core::{Cache, cache::HotTier, fleche, store::BackendInfo};

/// The time limit for one part, which also suffices for slow stores.
const TIMEOUT: Duration = Duration::from_mins(1);

/// The results of making one part of a user's type panic.
#[derive(Clone, Debug)]
pub struct PanicReport {
    /// The part that panicked.
    pub part: Part,
    /// The number of calls that were made while it panicked.
    pub calls: u64,
    /// Descriptions of the failures.
    pub failures: Vec<String>,
}

/// Makes calls with stores of the backend while this part of their arguments and results panics.
pub fn run_panics(backend: &'static BackendInfo, part: Part) -> PanicReport {
    let outcome = within(TIMEOUT, "panics", move || run_one(backend, part)).and_then(|outcome| outcome);
    let (calls, failures) = match outcome {
        Ok(calls) => (calls, Vec::new()),
        Err(why) => (0, vec![format!("a panic in {part:?}: {why}")]),
    };
    PanicReport { part, calls, failures }
}

fn run_one(backend: &'static BackendInfo, part: Part) -> Result<u64, String> {
    let mut made = 0;
    let fixture = Fixture::new(backend, Program::this());
    let cache = Cache::of(fixture.open_values(), fixture.open_calls(), true);
    for cache in [cache.hot_tier(HotTier::OFF), cache] {
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
        Part::Serialize => taken::<0>(id, &Tricky(2)),
        Part::Deserialize => taken::<1>(id, &Tricky(2)),
        Part::PartialEq => taken::<2>(id, &Tricky(2)),
        Part::Clone => taken::<3>(id, &Tricky(2)),
        Part::Drop => {
            let tricky = Tricky(2);
            let taken = taken::<4>(id, &tricky);
            mem::forget(tricky);
            taken
        }
    };
    expect(while_panics(part, argument), 3, "the result of a call with an argument that panics")?;
    expect(scene.runs(), 1, "bodies of a call with an argument that panics")?;
    let computed = while_panics(part, || defused(given(id, 5)));
    expect(computed, 5, "a result that panics")?;
    expect(scene.runs(), 2, "bodies of a call with a result that panics")?;
    // This call is recorded at the latest now.
    expect(defused(given(id, 5)), 5, "a result that has panicked")?;
    let before = scene.runs();
    let found = while_panics(part, || defused(given(id, 5)));
    expect(found, 5, "a recorded result that panics")?;
    if scene.runs() - before > 1 { Err("a body has run more than once".to_owned()) } else { Ok(3) }
}

fn expect(found: u64, right: u64, what: &str) -> Result<(), String> {
    if found == right { Ok(()) } else { Err(format!("{what}: found {found}, expected {right}")) }
}

/// A function with an instance for each part, since a function whose arguments failed a check no longer records anything.
#[fleche]
fn taken<const PART: u8>(scene: u64, tricky: &Tricky) -> u64 {
    count(scene);
    tricky.0 + 1
}

#[fleche]
fn given(scene: u64, x: u64) -> Tricky {
    count(scene);
    Tricky(x)
}
