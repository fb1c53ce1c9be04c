//! Fault injection: makes operations of stores fail in several ways, and checks that calls return the right results.

mod panics;
mod plan;
mod script;
mod store;

use std::{fmt, sync::Arc, thread, time::Duration};

use fleche_core::{Cache, cache::HotTier, store::BackendInfo};

pub use panics::{PanicReport, Part, Tricky, defused, panics_from_now_on, run_panics, while_panics};
pub use plan::{Fault, Plan};
pub use store::{FaultyCalls, FaultyValues};

use crate::{
    capture::{capture, run_with_timeout},
    fixture::Fixture,
    peer_process::Program,
    test_calls::Scene,
};

/// The time limit of one run of the script, which also suffices for slow stores.
const TIMEOUT: Duration = Duration::from_mins(2);
/// The number of failures after which the run ends.
const MAX_FAILURES: usize = 20;
/// An upper limit for the number of operations of the script.
const MAX_OPERATIONS: u64 = 2_000;

/// The results of making every operation fail in one way.
#[derive(Clone, Debug)]
pub struct FaultReport {
    /// How the operations failed.
    pub fault: Fault,
    /// The number of operations, each of which failed in a run of its own.
    pub operations: u64,
    /// The failures, each with the number of the operation that was made to fail.
    pub failures: Vec<String>,
}

impl fmt::Display for FaultReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {} operations, {} failures", self.fault, self.operations, self.failures.len())
    }
}

/// Runs a script of calls on stores of the backend, once for each store operation of the script, and makes that
/// operation fail in this way.
///
/// All calls must return the right results, and the stores must work again after the fault.
pub fn run_faults(backend: &'static BackendInfo, fault: Fault) -> FaultReport {
    let mut report = FaultReport { fault, operations: 0, failures: Vec::new() };
    for nth in 1..=MAX_OPERATIONS {
        let plan = Arc::new(Plan::new(fault, nth));
        let planned = plan.clone();
        let outcome =
            run_with_timeout(TIMEOUT, "faults", move || run_one(backend, &planned)).and_then(|outcome| outcome);
        // Release operations that still hang after the time limit.
        plan.end();
        let struck = plan.has_struck();
        if let Err(why) = outcome {
            let at = if struck { format!("at operation {nth}") } else { "without a failing operation".to_owned() };
            report.failures.push(format!("{fault:?} {at}: {why}"));
        }
        if !struck || report.failures.len() >= MAX_FAILURES {
            return report;
        }
        report.operations = nth;
    }
    report.failures.push(format!("the script has not ended after {MAX_OPERATIONS} operations"));
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
        run_during_fault(&faulty, scene, plan).map_err(|why| format!("during the fault: {why}"))?;
        plan.end();
        script::calls(&faulty, scene).map_err(|why| format!("after the fault: {why}"))?;
        // The circuit breaker of the first handle may still be open, so the stores are checked through another one.
        let other_handle = faulty.hot_tier(HotTier::OFF);
        script::calls(&other_handle, scene).map_err(|why| format!("after the fault: {why}"))?;
        hits(&other_handle, scene, "after the fault")?;
    }
    let reopened = Cache::of(fixture.open_values(), fixture.open_calls(), true).hot_tier(HotTier::OFF);
    if !backend.durable {
        script::calls(&reopened, scene).map_err(|why| format!("after reopening: {why}"))?;
    }
    hits(&reopened, scene, "after reopening")
}

/// Runs the script during the fault.
///
/// With [`Fault::Hang`], it also checks that the hanging operation blocks only its own caller: another thread makes other calls
/// of the same functions, and one of the script's calls, with a short limit for waiting.
fn run_during_fault(faulty: &Cache, scene: Scene, plan: &Plan) -> Result<(), String> {
    if plan.fault() != Fault::Hang {
        return script::run(faulty, scene);
    }
    thread::scope(|scope| {
        let script = scope.spawn(|| capture(|| script::run(faulty, scene)));
        plan.wait_until_struck(|| !script.is_finished());
        if !plan.has_struck() {
            // The script has fewer operations than `nth`. Operations of the other thread must not fail in its place.
            plan.end();
        }
        let others = capture(|| {
            script::run(faulty, Scene::new())?;
            faulty.scope(|| scene.call(script::IMPATIENT))
        });
        plan.end();
        let script = script.join().unwrap_or_else(|_| Err("its thread died".to_owned()));
        others.and_then(|outcome| outcome).map_err(|why| format!("while an operation hangs: {why}"))?;
        script.and_then(|outcome| outcome)
    })
}

/// Makes every call, and fails if a result is wrong or a body runs.
fn hits(cache: &Cache, scene: Scene, when: &str) -> Result<(), String> {
    let before = scene.runs();
    script::calls(cache, scene).map_err(|why| format!("{when}: {why}"))?;
    match scene.runs() - before {
        0 => Ok(()),
        again => Err(format!("{when}: {again} calls are computed that should be recorded")),
    }
}
