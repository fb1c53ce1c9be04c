//! Turns: of all who miss a call at once, one computes it, and the others wait for what it brings.

mod asynchronous;
mod vigil;

pub(super) use asynchronous::{polled, take_turn_async};
pub use vigil::tell_waits_of;

use std::{sync::Arc, time::Instant};

use super::{
    asynchronous::ask_off_thread,
    attempt::attempt,
    events::{self, Missing},
    hit::{Fetched, Looked, Served, fetch, hit_of_replaced, judge},
    plan::ResultCodec,
    recording::Stored,
};
use crate::{
    cache::{Cache, Operation, StalePolicy, Unanswered},
    call::{Brief, CallKey},
    claim::{Boarded, Cargo, Claim, End, Flight, Flights, Held, Leader, Moment, Route, Taken, board, this_thread},
    context,
    error::{Error, Result},
    function::{Function, Patience},
    job::{self, Job},
    log::Throttle,
    panics::{Contained, contain},
    waiting,
};
use vigil::{Verdict, Vigil};

/// What somebody who asks for a missing call gets.
#[allow(clippy::large_enum_variant)] // As for `Found`.
pub(super) enum Turn<T> {
    /// The right to compute it, and why no record is served.
    Mine(Right, Missing),
    /// The result that another caller has computed in the meantime, and whether it was counted as a hit, as what is read from
    /// the stores is.
    Theirs(T, bool),
    /// Leave to compute it without the right: waiting would never end, or is not wanted.
    Alone,
}

/// The right to compute a call. Dropped, it goes to one of those who wait.
pub(super) struct Right(Leader);

impl Right {
    /// What the body is part of.
    pub(super) fn flight(&self) -> &Arc<Flight> {
        self.0.flight()
    }

    /// The body runs on this thread until what is returned is dropped.
    pub(super) fn begin(&self) -> RunsHere<'_> {
        self.flight().runs_on(this_thread());
        RunsHere { flight: self.flight(), _within: context::within(self.flight()) }
    }

    /// Whether the right went to another meanwhile.
    pub(super) fn is_late(&self) -> bool {
        self.0.is_late()
    }

    /// Where the call could not be stored, releasing its claim must not wait for the store.
    pub(super) fn expect_trouble(&self, stored: &Result<Stored>) {
        let is_trouble = !matches!(stored, Ok(Stored::Kept) | Err(Error::Refused { .. }));
        if is_trouble && let Some(held) = self.0.held() {
            held.release_in_background();
        }
    }

    /// The call is recorded; whoever waits gets the value.
    pub(super) fn land<T: Send + Sync + 'static>(self, codec: ResultCodec<T>, value: &T) {
        self.bring(codec, value, Origin::Computed);
    }

    fn bring<T: Send + Sync + 'static>(self, codec: ResultCodec<T>, value: &T, origin: Origin) {
        self.0.land(|| {
            let value = copied(codec, value)?;
            Some(Arc::new(Brought { value: Contained::new(value), origin }) as Cargo)
        });
    }
}

/// A body on this thread.
pub(super) struct RunsHere<'a> {
    flight: &'a Flight,
    _within: context::Guard,
}

impl Drop for RunsHere<'_> {
    fn drop(&mut self) {
        self.flight.runs_on(0);
    }
}

/// What a flight brings.
struct Brought<T> {
    value: Contained<T>,
    origin: Origin,
}

/// Where the value comes from that a flight brings.
enum Origin {
    /// The flight's leader has computed it.
    Computed,
    /// It was recorded by others; whether it is stale.
    Recorded(Brief, bool),
    /// It was recorded by the function's own code, and other code has replaced the record.
    Replaced,
}

/// What was recorded of a call when a rerun of it began.
///
/// A result that was recorded since then need not be computed again. Records are compared for that, not times, which come from
/// the clocks of other hosts.
pub(super) struct Before(Result<Option<Brief>, Unanswered>);

impl Before {
    pub(super) fn new(cache: &Cache, key: &CallKey) -> Self {
        Self(brief(cache, key))
    }

    /// As [`new`](Self::new), without making the polling thread wait.
    pub(super) async fn new_off_thread(cache: &Cache, key: CallKey) -> Self {
        Self(ask_off_thread(cache, Operation::ReadRecord, move |cache| brief(cache, &key)).await)
    }

    /// Returns whether this record was written since. Returns `false` if the store failed when it was asked at the beginning.
    fn is_past(&self, record: &Brief) -> bool {
        self.0.as_ref().is_ok_and(|before| before.as_ref() != Some(record))
    }
}

fn brief(cache: &Cache, key: &CallKey) -> Result<Option<Brief>, Unanswered> {
    cache.ask(Operation::ReadRecord, || attempt(|| cache.calls().brief(key)))
}

/// A copy; none where making it panics, which is no reason to fail a call.
fn copied<T>(codec: ResultCodec<T>, value: &T) -> Option<T> {
    let copy = contain(|| (codec.clone)(value));
    copy.inspect_err(|panic| {
        crate::log::warn!("the `Clone` of a result {panic}; callers that waited for it look it up");
    })
    .ok()
}

/// A call that was not found, or is to run again.
pub(super) struct Wanted<'a, T> {
    pub(super) function: &'static Function,
    pub(super) cache: &'a Cache,
    pub(super) key: CallKey,
    pub(super) codec: ResultCodec<T>,
    /// Before the call was looked for.
    pub(super) before: Moment,
    /// Why no record is served.
    pub(super) missing: Missing,
    /// For a rerun: the record from before it began, which does not count.
    pub(super) rerun: Option<&'a Before>,
}

impl<T> Clone for Wanted<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Wanted<'_, T> {}

pub(super) fn route(cache: &Cache, key: &CallKey) -> Route {
    Route { store: cache.calls().identity(), key: *key }
}

/// What is left of a claim once its store has said something.
enum Asked {
    /// It is settled; whether others than this process could have computed the call meanwhile.
    Settled(bool),
    Taken(Box<dyn Taken>),
}

/// A claim on its way.
type Arriving = Job<Result<Arc<dyn Held>>>;

impl<T: Send + Sync + 'static> Wanted<'_, T> {
    fn route(&self) -> Route {
        route(self.cache, &self.key)
    }

    /// Handles the store's answer to a claim. If the store failed or is left alone, the call runs without a claim.
    fn asked(&self, leader: &Leader, claim: Result<Claim, Unanswered>) -> Asked {
        match claim {
            Ok(Claim::WithinProcess) | Err(Unanswered::LeftAlone) => Asked::Settled(false),
            Ok(Claim::Held(held)) => {
                leader.hold(held);
                Asked::Settled(true)
            }
            Ok(Claim::Taken(taken)) => Asked::Taken(taken),
            Err(Unanswered::Failed(error)) => {
                self.cache.fault(&error, self.function.name());
                Asked::Settled(true)
            }
        }
    }

    /// Whether the call may have been recorded since it was looked for.
    fn may_be_there(&self, others: bool) -> bool {
        others || self.before.is_past()
    }

    /// Returns whether a record counts for a rerun: it is the result of one that began later, of the same code.
    fn counts(&self, record: &Brief) -> bool {
        self.rerun.is_none_or(|before| before.is_past(record) && self.function.is_own_code(&record.code))
    }

    /// The value that a flight has brought, if it is of this type and counts.
    fn unload(&self, cargo: &Cargo) -> Option<T> {
        let brought = cargo.downcast_ref::<Brought<T>>()?;
        let counts = match &brought.origin {
            Origin::Computed => true,
            // The leader may have looked at it under another policy.
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

    /// The recorded value, if it was fetched and counts; then the flight ends with it.
    fn find(&self, leader: Leader, fetched: Result<Option<Fetched>, Unanswered>) -> Found<T> {
        let fetched = fetched.map(|found| found.filter(|found| self.counts(&found.record)));
        match judge(self.function, self.codec, self.cache, &self.key, fetched.as_ref().map(Option::as_ref)) {
            Looked::Hit(Served { value, is_stale, .. }) => {
                if let Ok(Some(found)) = fetched {
                    Right(leader).bring(self.codec, &value, Origin::Recorded(found.record, is_stale));
                }
                Found::Value(value)
            }
            // What was recorded before a rerun began was not found, and is replaced.
            Looked::Miss(Missing::Unrecorded) if self.rerun.is_some() => Found::Missing(leader, Missing::Rerun),
            Looked::Miss(missing) => Found::Missing(leader, missing),
        }
    }

    /// The value in a record of the function's own code that the unfit one has replaced; then the flight ends with it.
    fn find_replaced(&self, leader: Leader, replaced: Option<Served<T>>) -> Result<T, Leader> {
        let Some(Served { value, .. }) = replaced else { return Err(leader) };
        Right(leader).bring(self.codec, &value, Origin::Replaced);
        Ok(value)
    }
}

/// What the leader of a call finds in the stores.
enum Found<T> {
    Value(T),
    Missing(Leader, Missing),
}

/// Waits for the right to compute the call, or for its result.
pub(super) fn take_turn<T: Send + Sync + 'static>(wanted: Wanted<'_, T>) -> Turn<T> {
    let Some(until) = deadline(wanted.function) else { return Turn::Alone };
    let from = context::flights();
    let mut has_waited = false;
    loop {
        match board(wanted.route(), &from) {
            Boarded::Leads(leader) => {
                return lead(wanted, leader, &from, until, has_waited);
            }
            Boarded::Circular => {
                wanted.cache.counters().circle();
                return Turn::Alone;
            }
            Boarded::Waits(flight) => {
                let mut vigil = Vigil::begin(wanted.function, wanted.cache, wanted.route(), &from, until);
                vigil.for_flight(flight.flight());
                has_waited = true;
                let verdict =
                    waiting::blocking_for_call(&wanted.key, || vigil.keep(flight.flight(), |until| flight.wait(until)));
                match verdict {
                    Verdict::Came(End::Landed(cargo)) => {
                        if let Some(value) = wanted.unload(&cargo) {
                            return Turn::Theirs(value, false);
                        }
                    }
                    Verdict::Came(End::Abandoned) => {}
                    Verdict::GoAhead => return Turn::Alone,
                }
            }
        }
    }
}

/// Until when calls of the function wait for others; `Some(None)` for as long as it takes, `None` not at all.
#[allow(clippy::option_option)] // Two answers to two questions, in this module only.
fn deadline(function: &Function) -> Option<Option<Instant>> {
    match function.definition.patience {
        Patience::Endless => Some(None),
        // Too far away to be told is never.
        Patience::For(time) => Some(Instant::now().checked_add(time)),
        Patience::None => None,
    }
}

/// Asks the store for its claim, waits for it, and looks again.
fn lead<T: Send + Sync + 'static>(
    wanted: Wanted<'_, T>,
    mut leader: Leader,
    from: &Flights,
    until: Option<Instant>,
    mut has_waited: bool,
) -> Turn<T> {
    let others = match wanted.asked(&leader, claim(wanted.cache, &wanted.key)) {
        Asked::Settled(others) => others,
        Asked::Taken(taken) => {
            let mut vigil = Vigil::begin(wanted.function, wanted.cache, wanted.route(), from, until);
            vigil.for_claim();
            has_waited = true;
            let arriving = arriving(taken);
            let wait = |until: Option<Instant>| {
                if let Some(until) = until {
                    return arriving.wait_timeout(until.saturating_duration_since(Instant::now())).then_some(());
                }
                arriving.wait();
                Some(())
            };
            leader.seek(true);
            let came = waiting::blocking_for_call(&wanted.key, || vigil.keep(leader.flight(), wait));
            leader.seek(false);
            match came {
                Verdict::Came(()) => wanted.arrived(&leader, arriving.result()),
                Verdict::GoAhead => leader.go_without(),
            }
            true
        }
    };
    let mut missing = wanted.missing;
    if wanted.may_be_there(others) {
        let Wanted { function, cache, ref key, codec, .. } = wanted;
        (leader, missing) = match wanted.find(leader, fetch(function, cache, key)) {
            Found::Value(value) => return Turn::Theirs(value, true),
            Found::Missing(leader, unfit @ Missing::Unfit(_)) => {
                let replaced = || hit_of_replaced(function, codec, cache, key);
                match wanted.find_replaced(leader, wanted.rerun.is_none().then(replaced).flatten()) {
                    Ok(value) => return Turn::Theirs(value, true),
                    Err(leader) => (leader, unfit),
                }
            }
            Found::Missing(leader, missing) => (leader, missing),
        };
    }
    if has_waited {
        wanted.cache.counters().takeover();
    }
    Turn::Mine(Right(leader), missing)
}

/// Asks the store for the claim.
fn claim(cache: &Cache, key: &CallKey) -> Result<Claim, Unanswered> {
    cache.ask(Operation::Claim, || attempt(|| cache.calls().claim(key)))
}

/// The claim, as soon as it is ours. Whoever does not wait for it any more lets it go with the job.
fn arriving(taken: Box<dyn Taken>) -> Arriving {
    let (completer, job) = job::channel();
    taken.when_held(Box::new(move |held| completer.complete(held)));
    job
}

impl<T: Send + Sync + 'static> Wanted<'_, T> {
    /// The claim has come, or a fault in its place.
    fn arrived(&self, leader: &Leader, arrived: Result<Result<Arc<dyn Held>>, job::JobError>) {
        match arrived {
            Ok(Ok(held)) => leader.hold(held),
            Ok(Err(error)) => self.cache.fault(&error, self.function.name()),
            Err(error) => {
                static LOST: Throttle = Throttle::new();
                crate::log::warn_rarely!(
                    &LOST, 0, function = self.function.name(), %error, "the claim of a call was lost"
                );
            }
        }
    }
}
