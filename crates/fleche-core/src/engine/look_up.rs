//! The call engine: encode the arguments, look up, run the body on a miss, record.

use std::time::Instant;

use super::{
    arguments::{Arguments, Call},
    codec::Recheck,
    events::{self, Missing},
    hit::{self, LookupResult, ServedHit, hit},
    hot_results,
    recording::Recording,
    result_kind::{Access, ResultCodec, ResultKind},
    scalar_key::ScalarKey,
    single_flight::{self, ComputePermit, Decision, EarlierRecord, PendingCall, single_flight},
    stability_check::{StabilityCheck, vouches},
    stale_record::{self, Replaces},
};
use crate::{
    cache::{Cache, SharedTier, SkipReason},
    call::CallKey,
    claim::Epoch,
    context,
    error::{Error, Result},
    function::{Function, Warning},
    metadata::Collecting,
    runtime::{fork, mode, panics::discard},
};

/// The outcome of a lookup.
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
    plan: ResultKind<R, T>,
    /// The recording after the body; `None` if nothing will be recorded.
    recording: Option<Recording>,
}

/// Looks a call up in the active cache.
///
/// `encode` adds the arguments that are part of the key, in order, and `scalar` adds the words of their scalar key. `guard`
/// checks these arguments against their values. `checks` check them from their encodings alone, after the body has run.
///
/// This function only looks in the thread-local tier; it is inlined into the memoized function.
#[inline]
pub fn look_up<R, T: Send + Sync + 'static>(
    function: &'static Function,
    plan: impl Fn() -> ResultKind<R, T>,
    scalar: impl FnOnce(&mut ScalarKey) -> bool,
    encode: impl FnOnce(&mut Arguments),
    guard: impl FnOnce(&mut StabilityCheck<'_>),
    checks: &'static [Recheck],
) -> Found<R, T> {
    let tier = if function.definition.hot { context::hot_tier() } else { None };
    let mut words = ScalarKey::NONE;
    let arguments = match tier {
        Some(tier) if scalar(&mut words) => match hot_results::get_scalar(function, plan().codec, tier, &words) {
            Some(value) => {
                events::hit_without_key(function, events::from::THREAD, encode);
                Ok(value)
            }
            None => Err(Some(with_scalar_key(&words, encode))),
        },
        Some(tier) => by_encoding(function, plan().codec, tier, encode),
        None => Err(encoded(function, &context::active(), encode)),
    };
    match arguments {
        Ok(value) => Found::Hit((plan().wrap)(value)),
        Err(Some(arguments)) => look_up_slow(function, plan(), arguments, guard, checks),
        Err(None) => Found::Miss(Miss { plan: plan(), recording: None }),
    }
}

/// Returns the result that the thread-local tier has for the encoded arguments; otherwise the arguments, as the error. Not
/// inlined into the memoized function, where it would slow down the lookup by scalar key.
#[inline(never)]
fn by_encoding<T: 'static>(
    function: &'static Function,
    codec: ResultCodec<T>,
    tier: u64,
    encode: impl FnOnce(&mut Arguments),
) -> Result<T, Option<Arguments>> {
    Arguments::with(|arguments| {
        arguments.fill(encode);
        let value = hot_results::get_thread_local(function, codec, tier, arguments)?;
        events::hit_of(function, events::from::THREAD, arguments);
        Some(value)
    })
}

#[inline(never)]
fn with_scalar_key(scalar: &ScalarKey, encode: impl FnOnce(&mut Arguments)) -> Arguments {
    let mut arguments = Arguments::new();
    arguments.fill(encode);
    arguments.with_scalar_key(scalar.clone())
}

/// Looks up a call that the thread-local tier does not have.
#[inline(never)]
fn look_up_slow<R, T: Send + Sync + 'static>(
    function: &'static Function,
    plan: ResultKind<R, T>,
    mut arguments: Arguments,
    guard: impl FnOnce(&mut StabilityCheck<'_>),
    checks: &'static [Recheck],
) -> Found<R, T> {
    let cache = context::active();
    let miss = |recording| Found::Miss(Miss { plan, recording });
    // Serves a result that was found, unless the arguments are due to be checked and fail.
    let serve = |value: T, arguments: &Arguments, guard, counted: bool| {
        if vouches(function, &cache, arguments, guard) {
            return Found::Hit((plan.wrap)(value));
        }
        if counted {
            cache.counters().take_back_hit();
        }
        discard(value);
        miss(None)
    };
    if !admits(function, &cache) {
        return miss(None);
    }
    let is_rerun = context::is_rerun();
    if !is_rerun && let Some(value) = hot_results::get_shared(function, plan.codec, &cache, &arguments) {
        events::hit_of(function, events::from::SHARED, &mut arguments);
        return serve(value, &arguments, guard, true);
    }
    let Some(call) = compute_key(function, &cache, &mut arguments) else { return miss(None) };
    let before = Epoch::now(single_flight::call_id(&cache, &call.key));
    let rerun = is_rerun.then(|| EarlierRecord::new(&cache, &call.key));
    let mut missing = Missing::Rerun;
    if !is_rerun {
        if let Some(value) = hot_results::get_by_digest(function, plan.codec, &cache, &arguments, &call.key) {
            events::hit(function, &call.key, events::from::SHARED);
            return serve(value, &arguments, guard, true);
        }
        // The pool that submitted the call has looked it up already, and coalesces equal calls.
        let known = context::is_known_miss(&call.key);
        let generation = SharedTier::generation();
        if known {
            cache.counters().miss();
            events::miss(function, &call.key, Missing::Known);
            let replaces = replaces(function, &cache, Missing::Known, None);
            let recording = check(function, Cache::clone(&cache), call, arguments, guard, checks);
            return miss(recording.map(|recording| Recording { replaces, ..recording }));
        }
        match hit(function, plan.codec, &cache, &call.key) {
            LookupResult::Hit(ServedHit { value, bytes, .. }) => {
                hot_results::keep_read(
                    function,
                    plan.codec,
                    &cache,
                    (&arguments, &call.key),
                    (&value, bytes),
                    generation,
                );
                return serve(value, &arguments, guard, true);
            }
            LookupResult::Miss(why) => missing = why,
        }
        cache.counters().miss();
    }
    events::miss(function, &call.key, missing);
    let permit = match plan.access {
        // The call returns a job, which may need this thread to complete: a caller that waited for it could deadlock.
        Access::Deferred(_) => None,
        Access::Immediate(_) => {
            let rerun = rerun.as_ref();
            let wanted =
                PendingCall { function, cache: &cache, key: call.key, codec: plan.codec, before, missing, rerun };
            match single_flight(wanted) {
                Decision::Ready(value, counted) => {
                    if is_rerun {
                        // The hot tier may still hold the result from before the rerun.
                        cache.forget();
                    }
                    return serve(value, &arguments, guard, counted);
                }
                Decision::Compute(permit, found) => {
                    missing = found;
                    Some(permit)
                }
                Decision::Unclaimed => None,
            }
        }
    };
    let replaces = replaces(function, &cache, missing, permit.as_ref());
    let recording = check(function, Cache::clone(&cache), call, arguments, guard, checks);
    miss(recording.map(|recording| Recording { permit, replaces, ..recording }))
}

/// Returns the record that the record of a call will replace, as far as the lookup has shown. Called before the body runs.
pub(super) fn replaces(
    function: &'static Function,
    cache: &Cache,
    missing: Missing,
    permit: Option<&ComputePermit>,
) -> Replaces {
    match (missing, permit) {
        (Missing::Unfit(why), _) => {
            stale_record::runs_again(function, cache, why);
            why.into()
        }
        (Missing::Unanswered, _) => Replaces::Unseen,
        // The pool has seen that there is no record, and holds the permit.
        (Missing::Known, _) if cache.is_exclusive() => Replaces::Nothing,
        // During a refresh, a lookup ignores older records, so there may be one.
        (Missing::Unrecorded, Some(_)) if mode::refreshed_since().is_none() => {
            if cache.is_exclusive() {
                Replaces::Nothing
            } else {
                Replaces::Shared
            }
        }
        (Missing::Unrecorded | Missing::Known | Missing::Rerun, _) => Replaces::Code,
    }
}

/// Returns the call's key and references together with its arguments, or `None` if the call will run without the cache.
pub(super) fn admit(
    function: &'static Function,
    cache: &Cache,
    encode: impl FnOnce(&mut Arguments),
) -> Option<(Call, Arguments)> {
    let mut arguments = encoded(function, cache, encode)?;
    Some((compute_key(function, cache, &mut arguments)?, arguments))
}

/// Returns whether the function's calls may be looked up and recorded. If the function itself is refused, counts the reason.
fn admits(function: &Function, cache: &Cache) -> bool {
    if fork::is_child() {
        fork::warn_once();
        return false;
    }
    if cache.is_void() {
        return false;
    }
    let refusal = function.refusal();
    if let Some(reason) = refusal {
        events::skip(function, cache, None, reason);
    }
    refusal.is_none()
}

/// Returns the encoded arguments, or `None` if the call will run without the cache.
fn encoded(function: &'static Function, cache: &Cache, encode: impl FnOnce(&mut Arguments)) -> Option<Arguments> {
    if !admits(function, cache) {
        return None;
    }
    let mut arguments = Arguments::new();
    arguments.fill(encode);
    Some(arguments)
}

/// Returns the call's key and references, or `None` if an argument cannot be encoded, which is counted.
fn compute_key(function: &'static Function, cache: &Cache, arguments: &mut Arguments) -> Option<Call> {
    match arguments.call(function) {
        Ok(call) => Some(call),
        Err(error) => {
            events::skip(function, cache, None, SkipReason::ArgumentNotEncodable);
            if function.warns(Warning::ArgumentNotEncodable) {
                crate::runtime::log::warn!(function = function.name(), error = %error.report(), "the call runs without the cache");
            }
            None
        }
    }
}

/// Returns the [`Recording`] of a call that was not found, or `None` if its arguments are due to be checked and fail.
pub(super) fn check(
    function: &'static Function,
    cache: Cache,
    call: Call,
    arguments: Arguments,
    guard: impl FnOnce(&mut StabilityCheck<'_>),
    checks: &'static [Recheck],
) -> Option<Recording> {
    let checked = function.miss_is_checked() || arguments.is_due();
    if checked && !StabilityCheck::passes(function, &cache, &arguments, guard) {
        return None;
    }
    let again = context::is_rerun();
    let replaces = Replaces::Nothing;
    Some(Recording { function, cache, call, arguments, checked, checks, permit: None, replaces, again })
}

impl<R, T: Send + Sync + 'static> Miss<R, T> {
    /// Runs the body and records its result. If the body returns a job, the job's result is recorded when it completes. If
    /// the body panics, nothing is recorded and the panic propagates to the caller.
    pub fn run(self, body: impl FnOnce() -> R) -> R {
        let Self { plan, recording } = self;
        let Some(recording) = recording else { return body() };
        let started = Instant::now();
        let collecting = Collecting::begin(context::metadata());
        let result = {
            let _within = recording.permit.as_ref().map(ComputePermit::begin);
            body()
        };
        match plan.access {
            Access::Immediate(value_of) => {
                let (took, metadata) = (started.elapsed(), collecting.finish());
                let value = value_of(result);
                recording.record(plan.codec, value.as_ref().ok(), took, metadata);
                value.map_or_else(|without| without, plan.wrap)
            }
            Access::Deferred(observed) => recording.record_later(plan.codec, observed, result, started, collecting),
        }
    }
}

/// Returns whether a call with this key would be a hit in the active cache.
pub fn contains(function: &'static Function, key: Result<CallKey>) -> Result<bool> {
    Ok(owns_records(function) && hit::is_there(function, &context::active(), &key?)?)
}

/// Removes a call's record from the active cache. Returns whether there was one.
pub fn evict(function: &'static Function, key: Result<CallKey>) -> Result<bool> {
    let (cache, key) = (context::active(), key?);
    if !owns_records(function) {
        return Ok(false);
    }
    // A record that was kept when other code replaced it would also be a hit.
    let kept = cache.remove_replaced(&key, function.codes())?;
    Ok(cache.evict(&key)? || kept)
}

/// Returns whether the records under the function's name are its own. Those of another function must be neither shown nor
/// removed.
fn owns_records(function: &'static Function) -> bool {
    function.has_its_name_alone()
}

/// Returns the recorded result from the active cache, in the function's declared return type, or `None` if the call is
/// not a hit.
pub fn load<R, T>(
    function: &'static Function,
    plan: &ResultKind<R, T>,
    key: Result<CallKey>,
) -> Result<Option<R>, Error> {
    if !owns_records(function) {
        return Ok(None);
    }
    Ok(hit::load(function, plan.codec, &context::active(), &key?)?.map(plan.wrap))
}

/// Runs the closure. All memoized calls in it run again.
pub fn rerun<R>(run: impl FnOnce() -> R) -> R {
    context::rerun(run)
}
