//! Turns: of all who miss a call at once, one computes it, and the others wait for what it brings.

mod asynchronous;
mod vigil;

pub(super) use asynchronous::take_turn_async;

use std::{sync::Arc, time::Instant};

use super::{
    attempt::attempt,
    hit::{Fetched, decode, fetch},
    plan::ResultCodec,
};
use crate::{
    cache::Cache,
    call::{CallKey, Timestamp},
    claim::{Boarded, Cargo, Claim, End, Flight, Flights, Held, Leader, Moment, Route, Taken, board, this_thread},
    context,
    error::Result,
    function::{Function, Patience},
    job::{self, Job},
    waiting,
};
use vigil::{Verdict, Vigil};

/// What somebody who asks for a missing call gets.
#[allow(clippy::large_enum_variant)] // As for `Found`.
pub(super) enum Turn<T> {
    /// The right to compute it.
    Mine(Right),
    /// The result that somebody else has computed meanwhile.
    Theirs(T),
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

    /// The call is recorded; whoever waits gets the value.
    pub(super) fn land<T: Send + Sync + 'static>(self, codec: ResultCodec<T>, value: &T) {
        self.bring(codec, value, None);
    }

    /// As [`land`](Self::land), with a value that was recorded before this flight: when.
    fn bring<T: Send + Sync + 'static>(self, codec: ResultCodec<T>, value: &T, written: Option<Timestamp>) {
        self.0.land(|| {
            let value = copied(codec, value)?;
            Some(Arc::new(Brought { value, written }) as Cargo)
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
    value: T,
    /// When it was recorded, if that was not done by the flight.
    written: Option<Timestamp>,
}

/// A copy; none where making it panics, which is no reason to fail a call.
fn copied<T>(codec: ResultCodec<T>, value: &T) -> Option<T> {
    let copy = job::catch(|| (codec.clone)(value));
    copy.inspect_err(|panic| crate::log::error!(%panic, "a panic while a result was cloned for who waits for it")).ok()
}

/// A call that was not found, or is to run again.
pub(super) struct Wanted<'a, T> {
    pub(super) function: &'static Function,
    pub(super) cache: &'a Cache,
    pub(super) key: CallKey,
    pub(super) codec: ResultCodec<T>,
    /// Before the call was looked for.
    pub(super) before: Moment,
    /// Where the call is to run again: since when. Records that are older do not count.
    pub(super) rerun: Option<Timestamp>,
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

    /// What the store said of the claim. A fault of the store leaves the call without one.
    fn asked(&self, leader: &Leader, claim: Result<Claim>) -> Asked {
        match claim {
            Ok(Claim::WithinProcess) => Asked::Settled(false),
            Ok(Claim::Held(held)) => {
                leader.hold(held);
                Asked::Settled(true)
            }
            Ok(Claim::Taken(taken)) => Asked::Taken(taken),
            Err(error) => {
                self.cache.fault(&error, self.function.name());
                Asked::Settled(true)
            }
        }
    }

    /// Whether the call may have been recorded since it was looked for.
    fn may_be_there(&self, others: bool) -> bool {
        others || self.before.is_past()
    }

    /// Whether what was recorded then counts.
    fn counts(&self, written: Timestamp) -> bool {
        self.rerun.is_none_or(|since| written >= since)
    }

    /// The value that a flight has brought, if it is of this type and counts.
    fn unload(&self, cargo: &Cargo) -> Option<T> {
        let brought = cargo.downcast_ref::<Brought<T>>()?;
        brought.written.is_none_or(|written| self.counts(written)).then(|| copied(self.codec, &brought.value))?
    }

    /// The recorded value, if it was fetched and counts; then the flight ends with it.
    fn find(&self, leader: Leader, fetched: Result<Option<Fetched>>) -> Result<T, Leader> {
        let fetched = fetched.map(|found| found.filter(|found| self.counts(found.record.written)));
        let fetched = fetched.as_ref().map(Option::as_ref);
        match decode(self.function, self.codec, self.cache, &self.key, fetched) {
            Some(value) => {
                let written = fetched.ok().flatten().map(|found| found.record.written);
                Right(leader).bring(self.codec, &value, written);
                Ok(value)
            }
            None => Err(leader),
        }
    }
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
                vigil.tell(Some(flight.begun()));
                has_waited = true;
                let verdict = waiting::blocking(|| vigil.keep(flight.flight(), |until| flight.wait(until)));
                match verdict {
                    Verdict::Came(End::Landed(cargo)) => {
                        if let Some(value) = wanted.unload(&cargo) {
                            return Turn::Theirs(value);
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
    let others = match wanted.asked(&leader, attempt(|| wanted.cache.calls().claim(&wanted.key))) {
        Asked::Settled(others) => others,
        Asked::Taken(taken) => {
            let mut vigil = Vigil::begin(wanted.function, wanted.cache, wanted.route(), from, until);
            vigil.tell(None);
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
            let came = waiting::blocking(|| vigil.keep(leader.flight(), wait));
            leader.seek(false);
            match came {
                Verdict::Came(()) => wanted.arrived(&leader, arriving.result()),
                Verdict::GoAhead => leader.go_without(),
            }
            true
        }
    };
    if wanted.may_be_there(others) {
        leader = match wanted.find(leader, fetch(wanted.cache, &wanted.key)) {
            Ok(value) => return Turn::Theirs(value),
            Err(leader) => leader,
        };
    }
    if has_waited {
        wanted.cache.counters().takeover();
    }
    Turn::Mine(Right(leader))
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
            Err(error) => crate::log::warn!(function = self.function.name(), %error, "the claim of a call was lost"),
        }
    }
}
