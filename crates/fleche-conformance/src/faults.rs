//! Failing stores: whatever operation of a store fails, and however, the user's calls return what they should.

mod panics;
mod plan;
mod script;
mod store;

use std::{fmt, sync::Arc, thread, time::Duration};

use fleche_core::{Cache, cache::HotTier, store::BackendInfo};

pub use panics::{PanicReport, Part, Tricky, defused, panics_from_now_on, run_panics, while_panics};
pub use plan::{Fault, Plan};
pub use store::{FaultyCalls, FaultyValues};

use crate::{capture::capture, fixture::Fixture, patience::within, peer::Program, subject::Scene};

/// One script takes no more than this, however slow the store.
const PATIENCE: Duration = Duration::from_mins(2);
/// After so many failures the rest would tell nothing new.
const ENOUGH: usize = 20;
/// A script has fewer operations than this.
const MOST: u64 = 2_000;

/// What came of letting every operation fail in one way.
#[derive(Clone, Debug)]
pub struct FaultReport {
    /// How they failed.
    pub fault: Fault,
    /// How many operations there were, each of which failed in a run of its own.
    pub operations: u64,
    /// What went wrong, with the number of the operation that failed.
    pub failures: Vec<String>,
}

impl fmt::Display for FaultReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {} operations, {} failures", self.fault, self.operations, self.failures.len())
    }
}

/// Runs a script of user's calls on stores of the backend once for each operation that the stores are asked for, which
/// fails in this way; afterwards the stores must work again.
pub fn run_faults(backend: &'static BackendInfo, fault: Fault) -> FaultReport {
    let mut report = FaultReport { fault, operations: 0, failures: Vec::new() };
    for nth in 1..=MOST {
        let plan = Arc::new(Plan::new(fault, nth));
        let planned = plan.clone();
        let outcome = within(PATIENCE, "faults", move || run_one(backend, &planned)).and_then(|outcome| outcome);
        // What still hangs, and was given up, ends.
        plan.end();
        let struck = plan.has_struck();
        if let Err(why) = outcome {
            let at = if struck { format!("at operation {nth}") } else { "without striking".to_owned() };
            report.failures.push(format!("{fault:?} {at}: {why}"));
        }
        if !struck || report.failures.len() >= ENOUGH {
            return report;
        }
        report.operations = nth;
    }
    report.failures.push(format!("the script has not ended after {MOST} operations"));
    report
}

fn run_one(backend: &'static BackendInfo, plan: &Arc<Plan>) -> Result<(), String> {
    let fixture = Fixture::new(backend, Program::this());
    let scene = Scene::new();
    {
        let (values, calls) = (fixture.open_values(), fixture.open_calls());
        let faulty =
            Cache::new(FaultyValues::new(values.clone(), plan.clone()), FaultyCalls::new(calls.clone(), plan.clone()))
                .hot_tier(HotTier::OFF);
        amid(&faulty, scene, plan).map_err(|why| format!("amid faults {why}"))?;
        plan.end();
        script::calls(&faulty, scene).map_err(|why| format!("after the fault {why}"))?;
        // That handle may still leave the stores alone, as a cache does for a while when they fail repeatedly.
        let anew = faulty.hot_tier(HotTier::OFF);
        script::calls(&anew, scene).map_err(|why| format!("after the fault {why}"))?;
        hits(&anew, scene, "after the fault")?;
    }
    let reopened = Cache::of(fixture.open_values(), fixture.open_calls(), true).hot_tier(HotTier::OFF);
    if !backend.durable {
        script::calls(&reopened, scene).map_err(|why| format!("after reopening {why}"))?;
    }
    hits(&reopened, scene, "after reopening")
}

/// Runs the script. While an operation hangs, only the caller that has asked for it waits: another thread makes other calls, of
/// the same functions too, and one call that the script makes, for which it does not wait long.
fn amid(faulty: &Cache, scene: Scene, plan: &Plan) -> Result<(), String> {
    if plan.fault() != Fault::Hang {
        return script::run(faulty, scene);
    }
    thread::scope(|scope| {
        let script = scope.spawn(|| capture(|| script::run(faulty, scene)));
        plan.wait_until_struck(|| !script.is_finished());
        if !plan.has_struck() {
            // The script has fewer operations. Those of the others are not meant.
            plan.end();
        }
        let others = capture(|| {
            script::run(faulty, Scene::new())?;
            faulty.scope(|| scene.call(script::IMPATIENT))
        });
        plan.end();
        let script = script.join().unwrap_or_else(|_| Err("its thread died".to_owned()));
        others.and_then(|outcome| outcome).map_err(|why| format!("while an operation hangs {why}"))?;
        script.and_then(|outcome| outcome)
    })
}

/// Every call is right, and no body runs.
fn hits(cache: &Cache, scene: Scene, when: &str) -> Result<(), String> {
    let before = scene.runs();
    script::calls(cache, scene).map_err(|why| format!("{when} {why}"))?;
    match scene.runs() - before {
        0 => Ok(()),
        again => Err(format!("{when} {again} calls are computed that should be recorded")),
    }
}
