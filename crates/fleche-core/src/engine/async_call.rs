//! Calls of an `async fn`: they are bound when they are called, and looked up when they are first polled.

use std::{future::Future, time::Instant};

use super::{
    arguments::{Arguments, Call},
    async_single_flight::{polled, single_flight_async},
    codec::Recheck,
    events::{self, Missing},
    hit::{LookupResult, ServedHit},
    hot_results,
    look_up::{admit, check, replaces},
    off_thread::{hit_off_thread, off_thread},
    recording::{Finished, Recording, StoreOutcome},
    result_kind::{Access, ResultKind},
    single_flight::{self, ComputePermit, Decision, EarlierRecord, PendingCall},
    stability_check::{StabilityCheck, is_due},
    stale_record::Replaces,
};
use crate::{
    cache::{Cache, Operation, SharedTier},
    claim::Epoch,
    context::{Binding, ContextFuture, InCacheCount},
    error::Result,
    function::Function,
    metadata::Collecting,
    runtime::panics::discard,
};

// No `R` is held across an `.await`, so a future is `Send` even if an error type is not.

/// A call of an `async fn` that has not been polled yet.
#[must_use]
pub struct AsyncCall<R, T: 'static> {
    function: &'static Function,
    plan: ResultKind<R, T>,
    binding: Binding,
    /// The moment of the call, for [`Binding::carried_since`].
    called: InCacheCount,
}

/// A call whose arguments are encoded.
#[must_use]
pub struct EncodedCall<R, T: 'static> {
    of: AsyncCall<R, T>,
    /// The encoded call; `None` if the call runs without the cache.
    call: Option<(Call, Arguments)>,
}

/// The outcome of a lookup, before the arguments are checked.
#[must_use]
#[allow(clippy::large_enum_variant)] // As for `Found`.
pub enum AsyncFound<R, T: 'static> {
    /// The recorded result.
    Hit(AsyncHit<R, T>),
    /// The body has to run.
    Miss(MissingCall<R, T>),
}

/// A call that was not found.
#[must_use]
pub struct MissingCall<R, T: 'static> {
    of: EncodedCall<R, T>,
    /// The permit to compute the call, if other callers may wait for the result.
    permit: Option<ComputePermit>,
    replaces: Replaces,
}

/// A recorded result.
#[must_use]
pub struct AsyncHit<R, T: 'static> {
    of: EncodedCall<R, T>,
    value: T,
    /// Whether the arguments must be checked before the result is served.
    is_due: bool,
    /// Whether the result was counted as a hit.
    counted: bool,
}

/// The outcome of a lookup after the arguments were checked, if they were due.
#[must_use]
#[allow(clippy::large_enum_variant)] // As for `Found`.
pub enum AsyncChecked<R, T: 'static> {
    /// The recorded result.
    Hit(AsyncHit<R, T>),
    /// The body has to run.
    Miss(AsyncMiss<R, T>),
}

/// A call whose body has to run.
#[must_use]
pub struct AsyncMiss<R, T: 'static> {
    of: AsyncCall<R, T>,
    /// The recording after the body; `None` if nothing will be recorded.
    recording: Option<Recording>,
}

impl<R, T: Send + 'static> AsyncCall<R, T> {
    /// Binds a call to the active context of this thread.
    pub fn new(function: &'static Function, plan: ResultKind<R, T>) -> Self {
        Self { function, plan, binding: Binding::current(), called: InCacheCount::so_far() }
    }

    /// Adds the arguments that are part of the key, when the future is first polled. If the future was moved into another
    /// cache since the call, that cache is used.
    pub fn encode(mut self, encode: impl FnOnce(&mut Arguments)) -> EncodedCall<R, T> {
        self.binding = self.binding.carried_since(self.called);
        let call = admit(self.function, self.binding.cache(), encode);
        EncodedCall { of: self, call }
    }
}

impl<R, T: Send + Sync + 'static> EncodedCall<R, T> {
    /// Looks the call up. On a miss, waits for the result of another caller or for the permit to compute the call.
    pub async fn look_up(mut self) -> AsyncFound<R, T> {
        let AsyncCall { function, plan, binding, .. } = &self.of;
        let Some((Call { key, .. }, arguments)) = &mut self.call else {
            return AsyncFound::Miss(MissingCall { of: self, permit: None, replaces: Replaces::Nothing });
        };
        let (key, cache) = (*key, binding.cache());
        let before = Epoch::now(single_flight::call_id(cache, &key));
        let is_rerun = binding.is_rerun();
        let mut rerun = None;
        let mut missing = Missing::Rerun;
        if is_rerun {
            rerun = Some(EarlierRecord::new_off_thread(cache, key).await);
        } else {
            let hot = hot_results::get_in_full(function, plan.codec, cache, arguments);
            if let Some(value) =
                hot.or_else(|| hot_results::get_by_digest(function, plan.codec, cache, arguments, &key))
            {
                events::hit(function, &key, events::from::SHARED);
                let is_due = is_due(function, arguments);
                return AsyncFound::Hit(AsyncHit { of: self, value, is_due, counted: true });
            }
            let generation = SharedTier::generation();
            match hit_off_thread(function, plan.codec, cache, key).await {
                LookupResult::Hit(ServedHit { value, bytes, .. }) => {
                    hot_results::keep_read(function, plan.codec, cache, (arguments, &key), (&value, bytes), generation);
                    let is_due = is_due(function, arguments);
                    return AsyncFound::Hit(AsyncHit { of: self, value, is_due, counted: true });
                }
                LookupResult::Miss(why) => missing = why,
            }
            cache.counters().miss();
        }
        events::miss(function, &key, missing);
        let permit = match plan.access {
            Access::Deferred(_) => None,
            Access::Immediate(_) => {
                let rerun = rerun.as_ref();
                let wanted = PendingCall { function, cache, key, codec: plan.codec, before, missing, rerun };
                match single_flight_async(wanted, binding.in_flight_calls()).await {
                    Decision::Ready(value, counted) => {
                        if is_rerun {
                            cache.forget();
                        }
                        let is_due = is_due(function, arguments);
                        return AsyncFound::Hit(AsyncHit { of: self, value, is_due, counted });
                    }
                    Decision::Compute(permit, found) => {
                        missing = found;
                        Some(permit)
                    }
                    Decision::Unclaimed => None,
                }
            }
        };
        let replaces = replaces(function, cache, missing, permit.as_ref());
        AsyncFound::Miss(MissingCall { of: self, permit, replaces })
    }
}

impl<R, T: Send + 'static> AsyncFound<R, T> {
    /// Checks the arguments, if they are due to be checked.
    pub fn check(self, guard: impl FnOnce(&mut StabilityCheck<'_>), checks: &'static [Recheck]) -> AsyncChecked<R, T> {
        let AsyncHit { of: EncodedCall { of, call }, value, is_due, counted } = match self {
            Self::Miss(missing) => return AsyncChecked::Miss(missing.check(guard, checks)),
            Self::Hit(hit) => hit,
        };
        let cache = of.binding.cache();
        let passes = |(_, arguments): &(Call, Arguments)| StabilityCheck::passes(of.function, cache, arguments, guard);
        if !is_due || call.as_ref().is_none_or(passes) {
            return AsyncChecked::Hit(AsyncHit { of: EncodedCall { of, call }, value, is_due, counted });
        }
        if counted {
            cache.counters().take_back_hit();
        }
        discard(value);
        AsyncChecked::Miss(AsyncMiss { of, recording: None })
    }
}

impl<R, T: Send + 'static> MissingCall<R, T> {
    fn check(self, guard: impl FnOnce(&mut StabilityCheck<'_>), checks: &'static [Recheck]) -> AsyncMiss<R, T> {
        let Self { of: EncodedCall { of, call }, permit, replaces } = self;
        let recording = call.and_then(|(call, arguments)| {
            check(of.function, of.binding.cache().clone(), call, arguments, guard, checks)
        });
        let again = of.binding.is_rerun();
        AsyncMiss { of, recording: recording.map(|recording| Recording { permit, replaces, again, ..recording }) }
    }
}

impl<R, T> AsyncHit<R, T> {
    /// Returns the result as the function returns it.
    pub fn result(self) -> R {
        (self.of.of.plan.wrap)(self.value)
    }
}

impl<R, T: Send + Sync + 'static> AsyncMiss<R, T> {
    /// Runs the body within the call's binding, and records its result. If the future is dropped before the body completes,
    /// nothing is recorded.
    pub async fn run(self, body: impl Future<Output = R>) -> R {
        let Self { of: AsyncCall { function, plan, binding, .. }, recording } = self;
        let Some(mut recording) = recording else { return ContextFuture::new(binding, body).await };
        let permit = recording.permit.take();
        let started = Instant::now();
        let collecting = Collecting::begin(binding.metadata());
        let binding = permit.as_ref().map_or(binding.clone(), |permit| binding.within(permit.flight()));
        let body = ContextFuture::new(binding, body);
        let result = match &permit {
            Some(permit) => polled(permit.flight(), body).await,
            None => body.await,
        };
        let value_of = match plan.access {
            Access::Immediate(value_of) => value_of,
            Access::Deferred(observed) => {
                return recording.record_later(plan.codec, observed, result, started, collecting);
            }
        };
        let (took, metadata) = (started.elapsed(), collecting.finish_elsewhere());
        let value = match value_of(result) {
            Ok(value) => value,
            Err(without) => {
                recording.record(plan.codec, None, took, metadata);
                return without;
            }
        };
        let (cache, key) = (recording.cache.clone(), recording.call.key);
        if let Some(mut finished) = recording.finish(plan.codec, Some(&value), took, metadata) {
            finished.late = permit.as_ref().is_some_and(ComputePermit::is_expired);
            let generation = SharedTier::generation();
            let stored = stored(&cache, finished);
            let (finished, stored) = match &permit {
                Some(permit) => polled(permit.flight(), stored).await,
                None => stored.await,
            };
            if let Some(finished) = finished {
                finished.enter_hot_tier(plan.codec, Some(&value), generation, matches!(stored, Ok(StoreOutcome::Kept)));
            }
            if let Some(permit) = &permit
                && StoreOutcome::is_failure(&stored)
            {
                permit.release_in_background();
            }
            Finished::conclude(function, &cache, &key, stored);
            if let Some(permit) = permit {
                permit.complete(plan.codec, &value);
            }
        }
        (plan.wrap)(value)
    }
}

/// Stores the call without blocking the polling thread. Returns the call too, unless a store has panicked.
async fn stored(cache: &Cache, mut finished: Finished) -> (Option<Finished>, Result<StoreOutcome>) {
    if cache.leaves_alone(Operation::WriteRecord) {
        return (Some(finished), Ok(StoreOutcome::LeftAlone));
    }
    let stored = off_thread(cache, move |_| {
        let stored = finished.store();
        Ok((finished, stored))
    });
    match stored.await {
        Ok((finished, stored)) => (Some(finished), stored),
        Err(error) => (None, Err(error)),
    }
}
