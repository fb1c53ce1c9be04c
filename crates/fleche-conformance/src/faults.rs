//! Fault injection: makes operations of stores fail in several ways while a script of calls runs, and checks that the calls
//! return the right results.

mod panics;
mod plan;
mod store;

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::Duration,
};

use fleche_core::{Cache, Error, Query, Result as StoreResult, cache::HotTier, store::BackendInfo};
pub use panics::{PanicReport, Part, Tricky, defused, panics_from_now_on, run_panics, while_panics};
pub use plan::{Fault, Plan};
pub use store::{FaultyCalls, FaultyValues};

use crate::{
    capture::{capture, run_together, run_with_timeout},
    fixture::Fixture,
    peer_process::Program,
    test_calls::{Call, Scene, call_that_fails, contains, evict, load, text},
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
    /// The fault of the operations.
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
        let triggered = plan.has_triggered();
        if let Err(why) = outcome {
            let at = if triggered { format!("at operation {nth}") } else { "without a failing operation".to_owned() };
            report.failures.push(format!("{fault:?} {at}: {why}"));
        }
        if !triggered || report.failures.len() >= MAX_FAILURES {
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
        let faulty = Cache::builder()
            .values(FaultyValues::new(values.clone(), plan.clone()))
            .calls(FaultyCalls::new(calls.clone(), plan.clone()))
            .hot_tier(HotTier::OFF)
            .build();
        run_during_fault(&faulty, scene, plan).map_err(|why| format!("during the fault: {why}"))?;
        plan.end();
        make_calls(&faulty, scene).map_err(|why| format!("after the fault: {why}"))?;
        // The circuit breaker of the first handle may still be open, so the stores are checked through another one.
        let other_handle = faulty.to_builder().hot_tier(HotTier::OFF).build();
        make_calls(&other_handle, scene).map_err(|why| format!("after the fault: {why}"))?;
        hits(&other_handle, scene, "after the fault")?;
    }
    let reopened =
        Cache::builder().values(fixture.open_values()).calls(fixture.open_calls()).hot_tier(HotTier::OFF).build();
    if !backend.durable {
        make_calls(&reopened, scene).map_err(|why| format!("after reopening: {why}"))?;
    }
    hits(&reopened, scene, "after reopening")
}

/// Runs the script during the fault.
///
/// With [`Fault::Hang`], it also checks that the hanging operation blocks only its own caller: another thread makes other calls
/// of the same functions, and one of the script's calls, with a short limit for waiting.
fn run_during_fault(faulty: &Cache, scene: Scene, plan: &Plan) -> Result<(), String> {
    if plan.fault() != Fault::Hang {
        return run_script(faulty, scene);
    }
    thread::scope(|scope| {
        let script = scope.spawn(|| capture(|| run_script(faulty, scene)));
        plan.wait_until_triggered(|| !script.is_finished());
        if !plan.has_triggered() {
            // The script has fewer operations than `nth`. Operations of the other thread must not fail in its place.
            plan.end();
        }
        let others = capture(|| {
            run_script(faulty, Scene::new())?;
            faulty.scope(|| scene.call(SHORT_WAIT))
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
    make_calls(cache, scene).map_err(|why| format!("{when}: {why}"))?;
    match scene.runs() - before {
        0 => Ok(()),
        again => Err(format!("{when}: {again} calls are computed that should be recorded")),
    }
}

/// The calls that must be recorded after the fault.
const CALLS: [Call; 8] = [
    Call::Short(3),
    Call::Long(4, 100),
    Call::Long(5, 30_000),
    Call::OfLong(6, 5_000),
    Call::Nested(7),
    Call::Later(8, 500),
    Call::Long(9, 65),
    SHORT_WAIT,
];

/// A call that waits only briefly for another caller to compute it, and then computes it itself.
pub(super) const SHORT_WAIT: Call = Call::ShortWait(10);

/// Makes every call.
///
/// # Errors
/// Fails if a result is wrong.
pub(super) fn make_calls(cache: &Cache, scene: Scene) -> Result<(), String> {
    cache.scope(|| CALLS.into_iter().try_for_each(|call| scene.call(call)))
}

/// Makes calls one after the other and concurrently, and queries the cache about them.
///
/// Calls must return the right results. Queries may fail with the error of the store, but must not return wrong results.
///
/// # Errors
/// Fails if a call or a query returns a wrong result.
pub(super) fn run_script(cache: &Cache, scene: Scene) -> Result<(), String> {
    make_calls(cache, scene)?;
    cache.scope(|| call_that_fails(scene, 8))?;
    make_calls(cache, scene)?;
    let at_once = run_together(2, |_| cache.scope(|| scene.call(Call::Long(11, 200))));
    at_once.into_iter().collect::<Result<(), _>>()?;
    cache.scope(|| check_companions(scene))?;
    check_query(cache)?;
    cache.scope(|| scene.call(Call::Long(4, 100)))
}

/// Checks the functions of the companion.
fn check_companions(scene: Scene) -> Result<(), String> {
    if unless_failed(|| contains(scene, 999))? == Some(true) {
        return Err("`contains` finds a call that was never made".to_owned());
    }
    unless_failed(|| contains(scene, 4))?;
    match unless_failed(|| load(scene, 4))? {
        Some(Some(loaded)) if loaded != text(4, 100) => return Err("`load` returns a wrong result".to_owned()),
        _ => {}
    }
    unless_failed(|| evict(scene, 4))?;
    Ok(())
}

/// Checks the records that a query finds.
fn check_query(cache: &Cache) -> Result<(), String> {
    let query = Query::new();
    let found = unless_failed(|| Ok(cache.query(&query)?.collect::<Vec<_>>()))?;
    for found in found.into_iter().flatten() {
        if let Some((key, record)) = unless_failed(|| found)? {
            // The key is computed again from the record's content.
            let own = fleche_core::CallKey::new(&record.function, &record.arguments);
            if own.ok() != Some(key) {
                return Err(format!("the record found for {key} belongs to another call"));
            }
        }
    }
    Ok(())
}

/// Returns the answer of the cache, or `None` if the store failed or panicked. Direct queries may report both.
fn unless_failed<T>(ask: impl FnOnce() -> StoreResult<T>) -> Result<Option<T>, String> {
    match catch_unwind(AssertUnwindSafe(ask)) {
        Err(_) | Ok(Err(Error::Io { .. } | Error::Backend { .. })) => Ok(None),
        Ok(Err(error)) => Err(format!("an error that is not the store's: {error:?}")),
        Ok(Ok(found)) => Ok(Some(found)),
    }
}
