//! One wait for a call that somebody else computes: told, counted, seen by others, and given up where it would not end.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::super::attempt::attempt;
use crate::{
    cache::Cache,
    call::CallKey,
    claim::{Flight, Owner, Published, Route, Sight, Stall, WaitsHere, look, look_for_stall},
    function::Function,
};

/// So often somebody who has claims looks whether he is waited for in turn.
const LOOKS: Duration = Duration::from_millis(50);
/// So often somebody who waits on a thread looks whether its process stands still, after as long.
const STILL: Duration = Duration::from_secs(1);
/// So long somebody who has claims waits where that cannot be seen, or where another does not go on who should.
const UNSEEN: Duration = Duration::from_secs(1);

pub(super) struct Vigil<'a> {
    function: &'static Function,
    cache: &'a Cache,
    route: Route,
    published: Published,
    begun: Instant,
    until: Option<Instant>,
    /// Since when it cannot be seen that nobody waits for this one.
    unseen: Option<Instant>,
}

/// How a wait ends.
pub(super) enum Verdict<R> {
    /// With what was waited for.
    Came(R),
    /// Without: its time is over, or it would not end.
    GoAhead,
}

impl<'a> Vigil<'a> {
    /// Begins a wait for the call from within these flights.
    pub(super) fn begin(
        function: &'static Function,
        cache: &'a Cache,
        route: Route,
        from: &[Arc<Flight>],
        until: Option<Instant>,
    ) -> Self {
        cache.counters().wait();
        let published = Published::new(route, from);
        Self { function, cache, route, published, begun: Instant::now(), until, unseen: None }
    }

    /// Lets the log say who is waited for: another process, or a flight of this one, on its way since then.
    pub(super) fn tell(&self, flight: Option<Instant>) {
        let (function, key) = (self.function.name(), self.route.key);
        if let Some(begun) = flight {
            let (process, age) = (std::process::id(), begun.elapsed());
            tracing::debug!(function, %key, process, ?age, "waiting for the same call in this process");
        } else if tracing::enabled!(tracing::Level::INFO) {
            let owner = self.owner(&self.route.key);
            let (host, process) = owner.as_ref().map(|owner| (owner.host.as_str(), owner.process)).unzip();
            let age = owner.as_ref().map(Owner::age);
            tracing::info!(function, %key, host, process, ?age, "waiting for the same call in another process");
        }
    }

    fn owner(&self, key: &CallKey) -> Option<Owner> {
        attempt(|| self.cache.calls().owner(key)).ok().flatten()
    }

    /// When to look up from the wait next, if at all.
    pub(super) fn next_look(&self) -> Option<Instant> {
        let look = self.published.is_owner().then(|| Instant::now() + LOOKS);
        match (look, self.until) {
            (Some(look), Some(until)) => Some(look.min(until)),
            (look, until) => look.or(until),
        }
    }

    /// Whether to give up, which is asked when the time to look has come.
    pub(super) fn is_over(&mut self) -> bool {
        let now = Instant::now();
        if self.until.is_some_and(|until| until <= now) {
            tracing::debug!(function = self.function.name(), key = %self.route.key, "the wait has lasted too long");
            return true;
        }
        if !self.published.is_owner() {
            return false;
        }
        let circle = match look(&self.published.own(), self.route.key, |key: &_| self.owner(key)) {
            Sight::Clear if !self.published.hides() => {
                self.unseen = None;
                false
            }
            Sight::Circle => true,
            Sight::Clear | Sight::Theirs | Sight::Hidden => {
                now.duration_since(*self.unseen.get_or_insert(now)) >= UNSEEN
            }
        };
        if circle {
            self.cache.counters().circle();
        }
        circle
    }

    /// Waits on this thread for the flight, or as its leader: `wait` blocks until what is waited for has come, or until
    /// then.
    pub(super) fn keep<R>(&mut self, flight: &Arc<Flight>, wait: impl Fn(Option<Instant>) -> Option<R>) -> Verdict<R> {
        let _waits = WaitsHere::begin();
        let mut still = self.begun + STILL;
        let mut presumed = None;
        loop {
            if let Some(come) = wait(Some(self.next_look().map_or(still, |look| look.min(still)))) {
                return Verdict::Came(come);
            }
            let now = Instant::now();
            if self.next_is_due(now) && self.is_over() {
                return Verdict::GoAhead;
            }
            if now >= still {
                match look_for_stall(flight, |key| self.owner(key)) {
                    Stall::Yes => {
                        self.cache.counters().circle();
                        return Verdict::GoAhead;
                    }
                    Stall::Perhaps(published) => presumed = presumed.or(Some(published)),
                    Stall::No => presumed = None,
                }
                still = now + STILL / 2;
            }
        }
    }

    /// Whether there is something to look at but whether the process stands still.
    fn next_is_due(&self, now: Instant) -> bool {
        self.published.is_owner() || self.until.is_some_and(|until| until <= now)
    }
}

impl Drop for Vigil<'_> {
    fn drop(&mut self) {
        self.cache.counters().waited(self.begun.elapsed());
    }
}
