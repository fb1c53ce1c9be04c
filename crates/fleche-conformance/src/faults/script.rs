//! The script of calls that is run while stores fail.

use std::panic::{AssertUnwindSafe, catch_unwind};

use fleche_core::{Cache, Error, Query, Result as StoreResult};

use crate::{
    capture::run_together,
    test_calls::{Call, Scene, call_that_fails, contains, evict, load, text},
};

/// The calls that must be recorded after the fault.
const CALLS: [Call; 8] = [
    Call::Short(3),
    Call::Long(4, 100),
    Call::Long(5, 30_000),
    Call::OfLong(6, 5_000),
    Call::Nested(7),
    Call::Later(8, 500),
    Call::Long(9, 65),
    IMPATIENT,
];

/// A call that waits only briefly for another caller to compute it, and then computes it itself.
pub(super) const IMPATIENT: Call = Call::Impatient(10);

/// Makes every call.
///
/// # Errors
/// Fails if a result is wrong.
pub(super) fn calls(cache: &Cache, scene: Scene) -> Result<(), String> {
    cache.scope(|| CALLS.into_iter().try_for_each(|call| scene.call(call)))
}

/// Makes calls one after the other and concurrently, and queries the cache about them.
///
/// Calls must return the right results. Queries may fail with the error of the store, but must not return wrong results.
///
/// # Errors
/// Fails if a call or a query returns a wrong result.
pub(super) fn run(cache: &Cache, scene: Scene) -> Result<(), String> {
    calls(cache, scene)?;
    cache.scope(|| call_that_fails(scene, 8))?;
    calls(cache, scene)?;
    let at_once = run_together(2, |_| cache.scope(|| scene.call(Call::Long(11, 200))));
    at_once.into_iter().collect::<Result<(), _>>()?;
    cache.scope(|| ask(scene))?;
    query(cache)?;
    cache.scope(|| scene.call(Call::Long(4, 100)))
}

/// Checks the functions of the companion.
fn ask(scene: Scene) -> Result<(), String> {
    if allowed(|| contains(scene, 999))? == Some(true) {
        return Err("`contains` finds a call that was never made".to_owned());
    }
    allowed(|| contains(scene, 4))?;
    match allowed(|| load(scene, 4))? {
        Some(Some(loaded)) if loaded != text(4, 100) => return Err("`load` returns a wrong result".to_owned()),
        _ => {}
    }
    allowed(|| evict(scene, 4))?;
    Ok(())
}

/// Checks the records that a query finds.
fn query(cache: &Cache) -> Result<(), String> {
    let query = Query::new();
    let found = allowed(|| Ok(cache.query(&query)?.collect::<Vec<_>>()))?;
    for found in found.into_iter().flatten() {
        if let Some((key, record)) = allowed(|| found)? {
            // The key is computed again from the record's content.
            let own = fleche_core::CallKey::new(&record.function, &record.arguments);
            if own.ok() != Some(key) {
                return Err(format!("the record found for {key} belongs to another call"));
            }
        }
    }
    Ok(())
}

/// Returns the answer of the cache, or `None` if the store failed or panicked, which direct queries may report.
fn allowed<T>(ask: impl FnOnce() -> StoreResult<T>) -> Result<Option<T>, String> {
    match catch_unwind(AssertUnwindSafe(ask)) {
        Err(_) | Ok(Err(Error::Io { .. } | Error::Backend { .. })) => Ok(None),
        Ok(Err(error)) => Err(format!("an error that is not the store's: {error}")),
        Ok(Ok(found)) => Ok(Some(found)),
    }
}
