//! The call engine: encode the arguments, look up, run the body on a miss, record.

mod arguments;
mod codec;
mod guard;
mod plan;
mod recording;

pub use arguments::Arguments;
pub use codec::{Codec, Owned, Reader, Recheck, codec, local_codec};
pub use guard::Guard;
pub use plan::{EqualityProbe, NoEquality, Plan, Recordable, ResultProbe, WholeProbe, WholeResult, equality_of};

use std::{any::Any, time::Instant};

use crate::{
    cache::{Cache, Skip},
    call::{CallKey, Record, ValueRef},
    context,
    error::{Error, Result},
    function::{Function, Warning},
    metadata::Collecting,
};
use plan::Access;
use recording::Recording;

/// What a look-up gives: the result, or the right to compute it.
#[must_use]
#[allow(clippy::large_enum_variant)] // A box would cost a miss an allocation, and a hit nothing less.
pub enum Found<R, T: 'static> {
    /// The recorded result.
    Hit(R),
    /// The body has to run.
    Miss(Miss<R, T>),
}

/// A call whose body has to run.
#[must_use]
pub struct Miss<R, T: 'static> {
    plan: Plan<R, T>,
    /// `None` where nothing will be recorded.
    recording: Option<Recording>,
}

/// Looks a call up in the active cache. `encode` adds the arguments that are part of the key, in order; `guard` checks
/// the same while their values are at hand, `checks` from their encodings alone.
pub fn look_up<R, T>(
    function: &'static Function,
    plan: Plan<R, T>,
    encode: impl FnOnce(&mut Arguments),
    guard: impl FnOnce(&mut Guard<'_>),
    checks: &'static [Recheck],
) -> Found<R, T> {
    let cache = context::active();
    let miss = |recording| Found::Miss(Miss { plan, recording });
    if cache.is_void() {
        return miss(None);
    }
    if !function.has_its_name_alone() {
        cache.counters().skipped(Skip::NameClaimedTwice);
        return miss(None);
    }
    let mut arguments = Arguments::new();
    encode(&mut arguments);
    let call = match arguments.call(function) {
        Ok(call) => call,
        Err(error) => {
            cache.counters().skipped(Skip::ArgumentNotEncodable);
            if function.warns(Warning::ArgumentNotEncodable) {
                tracing::warn!(function = function.name(), %error, "the call runs without the cache");
            }
            return miss(None);
        }
    };
    if !context::is_rerun() {
        if let Some(result) = hit(function, &plan, &cache, &call.key) {
            return Found::Hit(result);
        }
        cache.counters().miss();
    }
    let checked = function.miss_is_checked();
    if checked && !Guard::passes(function, &cache, &arguments, guard) {
        return miss(None);
    }
    miss(Some(Recording { function, cache: Cache::clone(&cache), call, arguments, checked, checks }))
}

impl<R, T> Miss<R, T> {
    /// Runs the body and records what it returns, or what the job brings that it returns. A panic of the body records
    /// nothing and goes on to the caller.
    pub fn run(self, body: impl FnOnce() -> R) -> R {
        let Self { plan, recording } = self;
        let Some(recording) = recording else { return body() };
        let started = Instant::now();
        let collecting = Collecting::begin(context::metadata());
        let result = body();
        match plan.access {
            Access::Now(value) => {
                let metadata = collecting.finish();
                recording.record(plan.codec, value(&result), started.elapsed(), metadata);
                result
            }
            Access::Later(observed) => recording.record_later(plan.codec, observed, result, started, collecting),
        }
    }
}

/// The recorded result of a call. Every fault is logged, counted and a miss.
pub(crate) fn hit<R, T>(function: &'static Function, plan: &Plan<R, T>, cache: &Cache, key: &CallKey) -> Option<R> {
    let record = cache.record(key).unwrap_or_else(|error| {
        cache.fault(&error, function.name());
        None
    })?;
    let value = match &record.result {
        ValueRef::Inline(bytes) => (plan.codec.decode)(bytes.as_slice()),
        ValueRef::Stored(digest) => match cache.values().get(digest) {
            Ok(found) => (plan.codec.decode)(&found?),
            Err(error) => {
                cache.fault(&error, function.name());
                return None;
            }
        },
    };
    match value {
        Ok(value) => {
            warn_of_stale_code(function, &record);
            cache.counters().hit();
            Some((plan.wrap)(value))
        }
        Err(error) => {
            if function.warns(Warning::ResultUnreadable) {
                tracing::warn!(
                    function = function.name(), %key, %error,
                    "a recorded result does not decode into the function's type; the call runs again"
                );
            }
            None
        }
    }
}

/// A [`Load`](crate::function::Load) for functions of this plan.
pub fn load_boxed<R: 'static, T>(
    function: &'static Function,
    plan: &Plan<R, T>,
    cache: &Cache,
    key: &CallKey,
) -> Option<Box<dyn Any>> {
    hit(function, plan, cache, key).map(|result| Box::new(result) as Box<dyn Any>)
}

fn warn_of_stale_code(function: &'static Function, record: &Record) {
    if record.function.code != function.id().code && function.warns(Warning::StaleCode) {
        tracing::warn!(
            function = function.name(),
            "results are served that other code of this function computed. If the change alters results, state a new \
             version: `#[fleche(version = {})]`",
            function.id().version + 1,
        );
    }
}

/// The key of a call.
///
/// # Errors
/// [`Error::Argument`] where an argument cannot be encoded.
pub fn key(function: &'static Function, encode: impl FnOnce(&mut Arguments)) -> Result<CallKey> {
    let mut arguments = Arguments::new();
    encode(&mut arguments);
    Ok(arguments.call(function)?.key)
}

/// The key of a call, for the companion's `key`.
///
/// # Panics
/// Where an argument cannot be encoded: there is no key then.
pub fn key_or_panic(function: &'static Function, encode: impl FnOnce(&mut Arguments)) -> CallKey {
    key(function, encode).unwrap_or_else(|error| panic!("{error}"))
}

/// Whether a call with this key would be a hit, in the active cache.
pub fn contains(key: Result<CallKey>) -> Result<bool> {
    context::active().contains(&key?)
}

/// Removes a call's record from the active cache.
pub fn evict(key: Result<CallKey>) -> Result<bool> {
    context::active().evict(&key?)
}

/// The recorded result, in the function's declared return type, from the active cache.
pub fn load<R, T>(plan: &Plan<R, T>, key: Result<CallKey>) -> Result<Option<R>, Error> {
    let cache = context::active();
    let Some(record) = cache.record(&key?)? else { return Ok(None) };
    let encoded = cache.encoded(&record.result)?;
    Ok(encoded.map(|encoded| (plan.codec.decode)(&encoded)).transpose()?.map(plan.wrap))
}

/// Runs the closure with every fleche call in it running again.
pub fn rerun<R>(run: impl FnOnce() -> R) -> R {
    context::rerun(run)
}
