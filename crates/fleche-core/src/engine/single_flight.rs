//! Single flight: one of the concurrent callers that miss a call computes it, and the others wait for its result.

use std::{sync::Arc, time::Instant};

use super::{
    events::{self, Missing},
    hit::{Fetched, LookupResult, ServedHit, fetch, hit_of_replaced, judge},
    off_thread::ask_off_thread,
    result_kind::ResultCodec,
    wait::{Wait, WaitOutcome},
};
use crate::{
    cache::{Cache, Operation, StalePolicy, Unanswered},
    call::{CallKey, RecordSummary},
    claim::{
        CallEnd, CallId, Claim, ClaimGuard, ContendedClaim, Epoch, InFlightCall, InFlightCalls, Leader, Role,
        SharedResult, join_call,
    },
    context,
    error::Result,
    function::{Function, WaitPolicy},
    job::{self, Job, blocking_hooks, catch_store_panic},
    runtime::{
        internal_threads::this_thread,
        log::Throttle,
        panics::{Contained, contain},
    },
};

/// The decision of a caller about a missing call.
#[allow(clippy::large_enum_variant)] // As for `Found`.
pub(super) enum Decision<T> {
    /// The caller has the permit to compute the call. Also contains why no record is served.
    Compute(ComputePermit, Missing),
    /// The caller uses a result that another caller has computed. Also contains whether the result was counted as a hit, which
    /// is so for results read from the stores.
    Ready(T, bool),
    /// The caller computes the call without the permit, because waiting would never end or is not wanted.
    Unclaimed,
}

/// The permit to compute a call. Dropping it passes the permit to a waiter.
pub(super) struct ComputePermit(pub(super) Leader);

impl ComputePermit {
    /// Returns the in-flight call that the body belongs to.
    pub(super) fn flight(&self) -> &Arc<InFlightCall> {
        self.0.flight()
    }

    /// Records that the body runs on this thread, until the guard is dropped.
    pub(super) fn begin(&self) -> RunsHere<'_> {
        self.flight().runs_on(this_thread());
        RunsHere { flight: self.flight(), _within: context::within(self.flight()) }
    }

    /// Returns whether the store's claim was lost to another holder.
    pub(super) fn is_expired(&self) -> bool {
        self.0.is_expired()
    }

    /// Makes the store release the claim in the background, because the release could take long.
    pub(super) fn release_in_background(&self) {
        if let Some(held) = self.0.held() {
            held.release_in_background();
        }
    }

    /// Ends the in-flight call, and passes the value to the waiters.
    pub(super) fn complete<T: Send + Sync + 'static>(self, codec: ResultCodec<T>, value: &T) {
        self.share(codec, value, Origin::Computed);
    }

    fn share<T: Send + Sync + 'static>(self, codec: ResultCodec<T>, value: &T, origin: Origin) {
        self.0.complete(|| {
            let value = copied(codec, value)?;
            Some(Arc::new(SharedValue { value: Contained::new(value), origin }) as SharedResult)
        });
    }
}

/// Marks a body that runs on this thread.
pub(super) struct RunsHere<'a> {
    flight: &'a InFlightCall,
    _within: context::Guard,
}

impl Drop for RunsHere<'_> {
    fn drop(&mut self) {
        self.flight.runs_on(0);
    }
}

/// The result that an in-flight call passes to its waiters.
struct SharedValue<T> {
    value: Contained<T>,
    origin: Origin,
}

/// The origin of a result that is passed to waiters.
enum Origin {
    /// The leader has computed the result.
    Computed,
    /// The leader has found a record of the result. Also contains whether the record is stale.
    Recorded(RecordSummary, bool),
    /// The leader has found the result in a record of the function's own code that other code had replaced.
    Replaced,
}

/// The record of a call at the time when a rerun of it began.
///
/// A result that was recorded since then need not be computed again. This is determined by comparing records, not times, which
/// may come from clocks of other hosts.
pub(super) struct EarlierRecord(Result<Option<RecordSummary>, Unanswered>);

impl EarlierRecord {
    pub(super) fn new(cache: &Cache, key: &CallKey) -> Self {
        Self(summary(cache, key))
    }

    /// Like [`new`](Self::new), without blocking the polling thread.
    pub(super) async fn new_off_thread(cache: &Cache, key: CallKey) -> Self {
        Self(ask_off_thread(cache, Operation::ReadRecord, move |cache| summary(cache, &key)).await)
    }

    /// Returns whether this record was written since the rerun began, or `false` if the store failed at that time.
    fn is_past(&self, record: &RecordSummary) -> bool {
        self.0.as_ref().is_ok_and(|before| before.as_ref() != Some(record))
    }
}

fn summary(cache: &Cache, key: &CallKey) -> Result<Option<RecordSummary>, Unanswered> {
    cache.ask(Operation::ReadRecord, || catch_store_panic(|| cache.calls().summary(key)))
}

/// Returns a copy, or `None` if cloning panics, which must not fail the call.
fn copied<T>(codec: ResultCodec<T>, value: &T) -> Option<T> {
    let copy = contain(|| (codec.clone)(value));
    copy.inspect_err(|panic| {
        crate::runtime::log::warn!("the `Clone` of a result {panic}; callers that waited for it look it up");
    })
    .ok()
}

/// A call that was not found or is rerun.
pub(super) struct PendingCall<'a, T> {
    pub(super) function: &'static Function,
    pub(super) cache: &'a Cache,
    pub(super) key: CallKey,
    pub(super) codec: ResultCodec<T>,
    /// The moment before the lookup.
    pub(super) before: Epoch,
    /// The reason why no record is served.
    pub(super) missing: Missing,
    /// For a rerun: the record from before it began, which is not served.
    pub(super) rerun: Option<&'a EarlierRecord>,
}

impl<T> Clone for PendingCall<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for PendingCall<'_, T> {}

pub(super) fn call_id(cache: &Cache, key: &CallKey) -> CallId {
    CallId { store: cache.calls().identity(), key: *key }
}

/// The outcome of requesting a claim.
pub(super) enum Asked {
    /// There is nothing to wait for. Contains whether another process may have computed the call since the lookup.
    Settled(bool),
    /// Another process holds the claim.
    Taken(Box<dyn ContendedClaim>),
}

/// A job that returns the claim once it is acquired.
type Arriving = Job<Result<Arc<dyn ClaimGuard>>>;

impl<T: Send + Sync + 'static> PendingCall<'_, T> {
    pub(super) fn call_id(&self) -> CallId {
        call_id(self.cache, &self.key)
    }

    /// Handles the store's answer to a claim. If the store failed or is left alone, the call runs without a claim.
    pub(super) fn asked(&self, leader: &Leader, claim: Result<Claim, Unanswered>) -> Asked {
        match claim {
            Ok(Claim::WithinProcess) | Err(Unanswered::LeftAlone) => Asked::Settled(false),
            Ok(Claim::Held(held)) => {
                leader.set_claim(held);
                Asked::Settled(true)
            }
            Ok(Claim::Taken(taken)) => Asked::Taken(taken),
            Err(Unanswered::Failed(error)) => {
                self.cache.fault(&error, self.function.name());
                Asked::Settled(true)
            }
        }
    }

    /// Returns whether the call may have been recorded since the lookup.
    pub(super) fn may_be_there(&self, others: bool) -> bool {
        others || self.before.is_past()
    }

    /// Returns whether a record may be served. For a rerun, it must have been written since the rerun began, by the same code.
    fn counts(&self, record: &RecordSummary) -> bool {
        self.rerun.is_none_or(|before| before.is_past(record) && self.function.is_own_code(&record.code))
    }

    /// Returns the result that the leader has passed on, if it has this type and may be served.
    pub(super) fn shared_result(&self, result: &SharedResult) -> Option<T> {
        let brought = result.downcast_ref::<SharedValue<T>>()?;
        let counts = match &brought.origin {
            Origin::Computed => true,
            // The leader may have found it under another stale policy.
            Origin::Recorded(_, true) => {
                self.rerun.is_none() && self.function.stale_policy(self.cache) != StalePolicy::Rerun
            }
            Origin::Recorded(record, false) => self.counts(record),
            Origin::Replaced => self.rerun.is_none(),
        };
        let value = counts.then(|| copied(self.codec, &brought.value))??;
        events::hit(self.function, &self.key, events::from::ANOTHER_CALL);
        Some(value)
    }

    /// Returns the recorded value, if one was fetched and may be served. The in-flight call then ends with it.
    pub(super) fn find(&self, leader: Leader, fetched: Result<Option<Fetched>, Unanswered>) -> Found<T> {
        let fetched = fetched.map(|found| found.filter(|found| self.counts(&found.record)));
        match judge(self.function, self.codec, self.cache, &self.key, fetched.as_ref().map(Option::as_ref)) {
            LookupResult::Hit(ServedHit { value, is_stale, .. }) => {
                if let Ok(Some(found)) = fetched {
                    ComputePermit(leader).share(self.codec, &value, Origin::Recorded(found.record, is_stale));
                }
                Found::Value(value)
            }
            // A record from before the rerun began is not served. It will be replaced.
            LookupResult::Miss(Missing::Unrecorded) if self.rerun.is_some() => Found::Missing(leader, Missing::Rerun),
            LookupResult::Miss(missing) => Found::Missing(leader, missing),
        }
    }

    /// Returns the value of a record of the function's own code that the unfit one has replaced. The in-flight call then ends
    /// with it.
    pub(super) fn find_replaced(&self, leader: Leader, replaced: Option<ServedHit<T>>) -> Result<T, Leader> {
        let Some(ServedHit { value, .. }) = replaced else { return Err(leader) };
        ComputePermit(leader).share(self.codec, &value, Origin::Replaced);
        Ok(value)
    }
}

/// The outcome of the lookup by the leader of an in-flight call.
pub(super) enum Found<T> {
    Value(T),
    Missing(Leader, Missing),
}

/// Waits for the permit to compute the call, or for its result.
pub(super) fn single_flight<T: Send + Sync + 'static>(wanted: PendingCall<'_, T>) -> Decision<T> {
    let Some(until) = deadline(wanted.function) else { return Decision::Unclaimed };
    let from = context::flights();
    let mut has_waited = false;
    loop {
        match join_call(wanted.call_id(), &from) {
            Role::Leads(leader) => {
                return lead(wanted, leader, &from, until, has_waited);
            }
            Role::Cycle => {
                wanted.cache.counters().circle();
                return Decision::Unclaimed;
            }
            Role::Waits(flight) => {
                let mut current_wait = Wait::begin(wanted.function, wanted.cache, wanted.call_id(), &from, until);
                current_wait.for_flight(flight.flight());
                has_waited = true;
                let verdict = blocking_hooks::blocking_for_call(&wanted.key, || {
                    current_wait.keep(flight.flight(), |until| flight.wait(until))
                });
                match verdict {
                    WaitOutcome::Ready(CallEnd::Completed(result)) => {
                        if let Some(value) = wanted.shared_result(&result) {
                            return Decision::Ready(value, false);
                        }
                    }
                    WaitOutcome::Ready(CallEnd::Abandoned) => {}
                    WaitOutcome::Proceed => return Decision::Unclaimed,
                }
            }
        }
    }
}

/// Returns the time until which calls of the function wait for other callers: `Some(None)` for no limit, `None` for no wait.
#[allow(clippy::option_option)] // Two answers to two questions, in this module only.
pub(super) fn deadline(function: &Function) -> Option<Option<Instant>> {
    match function.definition.wait_policy {
        WaitPolicy::Endless => Some(None),
        // A time that cannot be represented is no limit.
        WaitPolicy::For(time) => Some(Instant::now().checked_add(time)),
        WaitPolicy::None => None,
    }
}

/// Acquires the store's claim for the leader, and looks the call up again if another caller may have recorded it.
fn lead<T: Send + Sync + 'static>(
    wanted: PendingCall<'_, T>,
    mut leader: Leader,
    from: &InFlightCalls,
    until: Option<Instant>,
    mut has_waited: bool,
) -> Decision<T> {
    let others = match wanted.asked(&leader, claim(wanted.cache, &wanted.key)) {
        Asked::Settled(others) => others,
        Asked::Taken(taken) => {
            let mut current_wait = Wait::begin(wanted.function, wanted.cache, wanted.call_id(), from, until);
            current_wait.for_claim();
            has_waited = true;
            let arriving = arriving(taken);
            let wait = |until: Option<Instant>| {
                if let Some(until) = until {
                    return arriving.wait_timeout(until.saturating_duration_since(Instant::now())).then_some(());
                }
                arriving.wait();
                Some(())
            };
            leader.set_awaiting_claim(true);
            let came = blocking_hooks::blocking_for_call(&wanted.key, || current_wait.keep(leader.flight(), wait));
            leader.set_awaiting_claim(false);
            match came {
                WaitOutcome::Ready(()) => wanted.arrived(&leader, arriving.result()),
                WaitOutcome::Proceed => leader.proceed_unclaimed(),
            }
            true
        }
    };
    let mut missing = wanted.missing;
    if wanted.may_be_there(others) {
        let PendingCall { function, cache, ref key, codec, .. } = wanted;
        (leader, missing) = match wanted.find(leader, fetch(function, cache, key)) {
            Found::Value(value) => return Decision::Ready(value, true),
            Found::Missing(leader, unfit @ Missing::Unfit(_)) => {
                let replaced = || hit_of_replaced(function, codec, cache, key);
                match wanted.find_replaced(leader, wanted.rerun.is_none().then(replaced).flatten()) {
                    Ok(value) => return Decision::Ready(value, true),
                    Err(leader) => (leader, unfit),
                }
            }
            Found::Missing(leader, missing) => (leader, missing),
        };
    }
    if has_waited {
        wanted.cache.counters().takeover();
    }
    Decision::Compute(ComputePermit(leader), missing)
}

/// Requests the claim from the store.
pub(super) fn claim(cache: &Cache, key: &CallKey) -> Result<Claim, Unanswered> {
    cache.ask(Operation::Claim, || catch_store_panic(|| cache.calls().claim(key)))
}

/// Returns a job that completes with the claim when this process acquires it. Dropping the job releases the claim.
pub(super) fn arriving(taken: Box<dyn ContendedClaim>) -> Arriving {
    let (completer, job) = job::channel();
    taken.when_acquired(Box::new(move |held| completer.complete(held)));
    job
}

impl<T: Send + Sync + 'static> PendingCall<'_, T> {
    /// Passes an acquired claim to the leader. A failure is counted or logged.
    pub(super) fn arrived(&self, leader: &Leader, arrived: Result<Result<Arc<dyn ClaimGuard>>, job::JobError>) {
        match arrived {
            Ok(Ok(held)) => leader.set_claim(held),
            Ok(Err(error)) => self.cache.fault(&error, self.function.name()),
            Err(error) => {
                static LOST: Throttle = Throttle::new();
                crate::runtime::log::warn_rarely!(
                    &LOST, 0, function = self.function.name(), %error, "the claim of a call was lost"
                );
            }
        }
    }
}
