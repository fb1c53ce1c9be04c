//! One wait for a call that somebody else computes: told, counted, seen by others, and given up where it would not end.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::super::attempt::attempt;
use crate::{
    cache::Cache,
    call::CallKey,
    claim::{Flight, Owner, Published, Route, Sight, look},
    function::Function,
};

/// So often somebody who has claims looks whether he is waited for in turn.
const LOOKS: Duration = Duration::from_millis(50);
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
            Sight::Clear => {
                self.unseen = None;
                false
            }
            Sight::Circle => true,
            Sight::Theirs | Sight::Hidden => now.duration_since(*self.unseen.get_or_insert(now)) >= UNSEEN,
        };
        if circle {
            self.cache.counters().circle();
        }
        circle
    }

    /// Waits on this thread: `wait` blocks until what is waited for has come, or until then.
    pub(super) fn keep<R>(&mut self, wait: impl Fn(Option<Instant>) -> Option<R>) -> Verdict<R> {
        loop {
            if let Some(come) = wait(self.next_look()) {
                return Verdict::Came(come);
            }
            if self.is_over() {
                return Verdict::GoAhead;
            }
        }
    }
}

impl Drop for Vigil<'_> {
    fn drop(&mut self) {
        self.cache.counters().waited(self.begun.elapsed());
    }
}
