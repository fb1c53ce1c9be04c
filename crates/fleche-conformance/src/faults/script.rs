//! What a user does while stores fail.

use std::panic::{AssertUnwindSafe, catch_unwind};

use fleche_core::{Cache, Error, Query, Result as StoreResult};

use crate::{
    capture::together,
    subject::{Call, Scene, call_that_fails, contains, evict, load, text},
};

/// The calls that are recorded in the end.
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

/// A call that computes by itself where waiting for another that computes it takes long.
pub(super) const IMPATIENT: Call = Call::Impatient(10);

/// Makes every call.
///
/// # Errors
/// Which result is wrong.
pub(super) fn calls(cache: &Cache, scene: Scene) -> Result<(), String> {
    cache.scope(|| CALLS.into_iter().try_for_each(|call| scene.call(call)))
}

/// Makes calls, alone and at once, and asks the cache about them. Calls must return what they should; who asks the cache
/// may learn that it failed, and nothing wrong.
///
/// # Errors
/// What is wrong.
pub(super) fn run(cache: &Cache, scene: Scene) -> Result<(), String> {
    calls(cache, scene)?;
    cache.scope(|| call_that_fails(scene, 8))?;
    calls(cache, scene)?;
    let at_once = together(2, |_| cache.scope(|| scene.call(Call::Long(11, 200))));
    at_once.into_iter().collect::<Result<(), _>>()?;
    cache.scope(|| ask(scene))?;
    query(cache)?;
    cache.scope(|| scene.call(Call::Long(4, 100)))
}

/// What the companion says.
fn ask(scene: Scene) -> Result<(), String> {
    if allowed(|| contains(scene, 999))? == Some(true) {
        return Err("a call is recorded that nobody made".to_owned());
    }
    allowed(|| contains(scene, 4))?;
    match allowed(|| load(scene, 4))? {
        Some(Some(loaded)) if loaded != text(4, 100) => return Err("what is loaded is wrong".to_owned()),
        _ => {}
    }
    allowed(|| evict(scene, 4))?;
    Ok(())
}

/// What a query finds.
fn query(cache: &Cache) -> Result<(), String> {
    let query = Query::new();
    let found = allowed(|| Ok(cache.query(&query)?.collect::<Vec<_>>()))?;
    for found in found.into_iter().flatten() {
        if let Some((key, record)) = allowed(|| found)? {
            // Made anew from what the record says.
            let own = fleche_core::CallKey::new(&record.function, &record.arguments);
            if own.ok() != Some(key) {
                return Err(format!("the record found for {key} is another's"));
            }
        }
    }
    Ok(())
}

/// What was asked for; `None` where the store failed, which whoever asks the cache itself learns, as he learns of a panic.
fn allowed<T>(ask: impl FnOnce() -> StoreResult<T>) -> Result<Option<T>, String> {
    match catch_unwind(AssertUnwindSafe(ask)) {
        Err(_) | Ok(Err(Error::Io { .. } | Error::Backend { .. })) => Ok(None),
        Ok(Err(error)) => Err(format!("an error of another kind: {error}")),
        Ok(Ok(found)) => Ok(Some(found)),
    }
}
