//! The call engine: encode the arguments, look up, run the body on a miss, record.

mod arguments;
mod asynchronous;
mod attempt;
mod codec;
mod events;
mod guard;
mod hit;
mod hot;
mod ignored;
mod mutable;
mod plan;
mod quick;
mod recording;
mod stale;
mod turn;

pub use arguments::Arguments;
pub use asynchronous::{AsyncCall, AsyncChecked};
pub(crate) use codec::Rewritten;
pub use codec::{Codec, Owned, Reader, Recheck, codec, local_codec};
use guard::vouches;
pub use guard::{CheckSubmitted, Guard};
pub(crate) use guard::{check_bound, check_taken_apart, vouches_for_submitted};
pub use hit::load_boxed;
pub use ignored::{CarriedByBoundCalls, IgnoredProbe, StaysHere};
pub use mutable::{MutableProbe, NotMutable};
pub use plan::{
    Abilities, AbilityProbe, NoCopy, NoEquality, Plan, Recordable, ResultProbe, WholeProbe, WholeResult, abilities_of,
};
pub use quick::{NotQuick, QuickKey, QuickProbe};
pub use turn::tell_waits_of;

use std::time::Instant;

use crate::{
    cache::{Cache, Hot, Skip},
    call::CallKey,
    claim::Moment,
    context,
    error::{Error, Result},
    fork,
    function::{Function, Warning},
    metadata::Collecting,
    mode,
    panics::discard,
};
use arguments::Call;
use events::Missing;
use hit::{Looked, Served, hit};
use plan::{Access, ResultCodec};
use recording::Recording;
use stale::Replaces;
use turn::{Before, Right, Turn, Wanted, take_turn};

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

/// Looks a call up in the active cache. `encode` adds the arguments that are part of the key, in order, and `quick` the
/// words that stand for them; `guard` checks the same while their values are at hand, `checks` from their encodings alone.
///
/// Here is only what finds a result that the thread has at hand; it becomes part of the function that is called.
#[inline]
pub fn look_up<R, T: Send + Sync + 'static>(
    function: &'static Function,
    plan: impl Fn() -> Plan<R, T>,
    quick: impl FnOnce(&mut QuickKey) -> bool,
    encode: impl FnOnce(&mut Arguments),
    guard: impl FnOnce(&mut Guard<'_>),
    checks: &'static [Recheck],
) -> Found<R, T> {
    let tier = if function.definition.hot { context::hot_tier() } else { None };
    let mut words = QuickKey::NONE;
    let arguments = match tier {
        Some(tier) if quick(&mut words) => match hot::get_quick(function, plan().codec, tier, &words) {
            Some(value) => {
                events::hit_without_key(function, events::from::THREAD, encode);
                Ok(value)
            }
            None => Err(Some(with_quick(&words, encode))),
        },
        Some(tier) => by_encoding(function, plan().codec, tier, encode),
        None => Err(encoded(function, &context::active(), encode)),
    };
    match arguments {
        Ok(value) => Found::Hit((plan().wrap)(value)),
        Err(Some(arguments)) => look_further(function, plan(), arguments, guard, checks),
        Err(None) => Found::Miss(Miss { plan: plan(), recording: None }),
    }
}

/// Returns a result that this thread has at hand under the encoded arguments, or these. Not part of the function that is
/// called, whose look-up by words it would slow.
#[inline(never)]
fn by_encoding<T: 'static>(
    function: &'static Function,
    codec: ResultCodec<T>,
    tier: u64,
    encode: impl FnOnce(&mut Arguments),
) -> Result<T, Option<Arguments>> {
    Arguments::with(|arguments| {
        arguments.fill(encode);
        let value = hot::get_near(function, codec, tier, arguments)?;
        events::hit_of(function, events::from::THREAD, arguments);
        Some(value)
    })
}

#[inline(never)]
fn with_quick(quick: &QuickKey, encode: impl FnOnce(&mut Arguments)) -> Arguments {
    let mut arguments = Arguments::new();
    arguments.fill(encode);
    arguments.with_quick(quick.clone())
}

/// Looks a call up that this thread does not have at hand.
#[inline(never)]
fn look_further<R, T: Send + Sync + 'static>(
    function: &'static Function,
    plan: Plan<R, T>,
    mut arguments: Arguments,
    guard: impl FnOnce(&mut Guard<'_>),
    checks: &'static [Recheck],
) -> Found<R, T> {
    let cache = context::active();
    let miss = |recording| Found::Miss(Miss { plan, recording });
    // A result is found, and served where the arguments are not due to be checked, or pass.
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
    if !is_rerun && let Some(value) = hot::get_far(function, plan.codec, &cache, &arguments) {
        events::hit_of(function, events::from::SHARED, &mut arguments);
        return serve(value, &arguments, guard, true);
    }
    let Some(call) = keyed(function, &cache, &mut arguments) else { return miss(None) };
    let before = Moment::now(turn::route(&cache, &call.key));
    let rerun = is_rerun.then(|| Before::new(&cache, &call.key));
    let mut missing = Missing::Rerun;
    if !is_rerun {
        if let Some(value) = hot::get_by_digest(function, plan.codec, &cache, &arguments, &call.key) {
            events::hit(function, &call.key, events::from::SHARED);
            return serve(value, &arguments, guard, true);
        }
        // Who has found it missing has the right to compute it, too.
        let known = context::is_missed(&call.key);
        let generation = Hot::generation();
        if known {
            cache.counters().miss();
            events::miss(function, &call.key, Missing::Known);
            let replaces = replaces(function, &cache, Missing::Known, false);
            let recording = check(function, Cache::clone(&cache), call, arguments, guard, checks);
            return miss(recording.map(|recording| Recording { replaces, ..recording }));
        }
        match hit(function, plan.codec, &cache, &call.key) {
            Looked::Hit(Served { value, bytes, .. }) => {
                hot::keep_read(function, plan.codec, &cache, (&arguments, &call.key), (&value, bytes), generation);
                return serve(value, &arguments, guard, true);
            }
            Looked::Miss(why) => missing = why,
        }
        cache.counters().miss();
    }
    events::miss(function, &call.key, missing);
    let right = match plan.access {
        // Its result is there later, and meanwhile nobody can say whether this thread has to bring it about.
        Access::Later(_) => None,
        Access::Now(_) => {
            let rerun = rerun.as_ref();
            let wanted = Wanted { function, cache: &cache, key: call.key, codec: plan.codec, before, missing, rerun };
            match take_turn(wanted) {
                Turn::Theirs(value, counted) => {
                    if is_rerun {
                        // What was kept before is not what somebody else has just computed.
                        cache.forget();
                    }
                    return serve(value, &arguments, guard, counted);
                }
                Turn::Mine(right, found) => {
                    missing = found;
                    Some(right)
                }
                Turn::Alone => None,
            }
        }
    };
    let replaces = replaces(function, &cache, missing, right.is_some());
    let recording = check(function, Cache::clone(&cache), call, arguments, guard, checks);
    miss(recording.map(|recording| Recording { right, replaces, ..recording }))
}

/// Returns what the record of a call will replace, before its body runs. What the look-up did not find out is looked up later.
fn replaces(function: &'static Function, cache: &Cache, missing: Missing, has_right: bool) -> Replaces {
    match missing {
        Missing::Unfit(why) => {
            stale::runs_again(function, cache, why);
            why.into()
        }
        Missing::Unanswered => Replaces::Unseen,
        // A record that is to be refreshed is taken for missing.
        Missing::Unrecorded if has_right && mode::refreshed_since().is_none() => Replaces::Nothing,
        Missing::Unrecorded | Missing::Known | Missing::Rerun => Replaces::Code,
    }
}

/// The call as stores know it; `None`, with the reason counted, where it will run without the cache.
fn admit(function: &'static Function, cache: &Cache, encode: impl FnOnce(&mut Arguments)) -> Option<(Call, Arguments)> {
    let mut arguments = encoded(function, cache, encode)?;
    Some((keyed(function, cache, &mut arguments)?, arguments))
}

/// Whether the function's calls may be looked up and recorded; if not, the reason is counted.
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

/// The arguments; `None`, with the reason counted, where the call will run without the cache.
fn encoded(function: &'static Function, cache: &Cache, encode: impl FnOnce(&mut Arguments)) -> Option<Arguments> {
    if !admits(function, cache) {
        return None;
    }
    let mut arguments = Arguments::new();
    arguments.fill(encode);
    Some(arguments)
}

/// Key and references; `None`, with the reason counted, where an argument cannot be encoded.
fn keyed(function: &'static Function, cache: &Cache, arguments: &mut Arguments) -> Option<Call> {
    match arguments.call(function) {
        Ok(call) => Some(call),
        Err(error) => {
            events::skip(function, cache, None, Skip::ArgumentNotEncodable);
            if function.warns(Warning::ArgumentNotEncodable) {
                crate::log::warn!(function = function.name(), %error, "the call runs without the cache");
            }
            None
        }
    }
}

/// The right to record a call that was not found; `None` where the guard, if this is its turn, refuses the arguments.
fn check(
    function: &'static Function,
    cache: Cache,
    call: Call,
    arguments: Arguments,
    guard: impl FnOnce(&mut Guard<'_>),
    checks: &'static [Recheck],
) -> Option<Recording> {
    let checked = function.miss_is_checked() || arguments.is_due();
    if checked && !Guard::passes(function, &cache, &arguments, guard) {
        return None;
    }
    let again = context::is_rerun();
    let replaces = Replaces::Nothing;
    Some(Recording { function, cache, call, arguments, checked, checks, right: None, replaces, again })
}

impl<R, T: Send + Sync + 'static> Miss<R, T> {
    /// Runs the body and records what it returns, or what the job brings that it returns. A panic of the body records
    /// nothing and goes on to the caller.
    pub fn run(self, body: impl FnOnce() -> R) -> R {
        let Self { plan, recording } = self;
        let Some(recording) = recording else { return body() };
        let started = Instant::now();
        let collecting = Collecting::begin(context::metadata());
        let result = {
            let _within = recording.right.as_ref().map(Right::begin);
            body()
        };
        match plan.access {
            Access::Now(value_of) => {
                let (took, metadata) = (started.elapsed(), collecting.finish());
                let value = value_of(result);
                recording.record(plan.codec, value.as_ref().ok(), took, metadata);
                value.map_or_else(|without| without, plan.wrap)
            }
            Access::Later(observed) => recording.record_later(plan.codec, observed, result, started, collecting),
        }
    }
}

/// The key of a call.
///
/// # Errors
/// [`Error::Argument`] where an argument cannot be encoded.
pub fn key(function: &'static Function, encode: impl FnOnce(&mut Arguments)) -> Result<CallKey> {
    let mut arguments = Arguments::new();
    arguments.fill(encode);
    arguments.key(function)
}

/// The key of a call, for the companion's `key`.
///
/// # Panics
/// Where an argument cannot be encoded: there is no key then.
pub fn key_or_panic(function: &'static Function, encode: impl FnOnce(&mut Arguments)) -> CallKey {
    key(function, encode).unwrap_or_else(|error| panic!("{error}"))
}

/// Whether a call with this key would be a hit, in the active cache.
pub fn contains(function: &'static Function, key: Result<CallKey>) -> Result<bool> {
    Ok(owns_records(function) && hit::is_there(function, &context::active(), &key?)?)
}

/// Removes a call's record from the active cache.
pub fn evict(function: &'static Function, key: Result<CallKey>) -> Result<bool> {
    let (cache, key) = (context::active(), key?);
    if !owns_records(function) {
        return Ok(false);
    }
    // What was kept of its code when other code replaced it, too: the call is to run again.
    let kept = cache.remove_replaced(&key, function.codes())?;
    Ok(cache.evict(&key)? || kept)
}

/// Whether the records under the function's name are its own; another's must be neither shown nor removed.
fn owns_records(function: &'static Function) -> bool {
    function.has_its_name_alone()
}

/// The recorded result, in the function's declared return type, from the active cache.
pub fn load<R, T>(function: &'static Function, plan: &Plan<R, T>, key: Result<CallKey>) -> Result<Option<R>, Error> {
    if !owns_records(function) {
        return Ok(None);
    }
    Ok(hit::load(function, plan.codec, &context::active(), &key?)?.map(plan.wrap))
}

/// Runs the closure with every fleche call in it running again.
pub fn rerun<R>(run: impl FnOnce() -> R) -> R {
    context::rerun(run)
}
