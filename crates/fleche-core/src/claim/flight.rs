//! Flights: calls on their way in this process. One leader a call; whoever else asks for it waits.

use std::{
    any::Any,
    fmt, mem,
    ops::Deref,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicI32, Ordering::Relaxed},
    },
    task::Waker,
    time::Instant,
};

use super::{
    Held, graph,
    polled::Polls,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, is_child},
    table,
};
use crate::call::CallKey;

/// A call of one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// The store's [identity](crate::CallStore::identity).
    pub store: usize,
    /// The call.
    pub key: CallKey,
}

/// What a leader leaves for those who wait: the result, in the type that is recorded.
pub type Cargo = Arc<dyn Any + Send + Sync>;

/// A call that is being computed, or about to be.
pub struct Flight {
    pub(super) route: Route,
    /// The flights whose bodies cannot go on before this one has ended.
    pub(super) parents: Flights,
    /// Since when.
    pub(super) begun: Instant,
    /// The claim of the store, where it gives any.
    held: Mutex<Option<Arc<dyn Held>>>,
    /// Whether its leader goes on without the claim, which another process has.
    claimless: AtomicBool,
    /// Whether its leader waits for the claim.
    seeks: AtomicBool,
    /// The thread that runs the body, by the system's number; 0 where it is not that of one thread.
    thread: AtomicI32,
    /// How its leader is polled, where that is a future.
    polls: OnceLock<std::sync::Arc<Polls>>,
    /// What is waited for within the body.
    pub(super) awaits: Mutex<Vec<Route>>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    end: Option<End>,
    /// How many wait.
    waiting: usize,
    wakers: Vec<Waker>,
    /// The flights within whose bodies it is waited for.
    from: Vec<Arc<Flight>>,
}

/// Flights, mostly none. Small, and cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Flights(Option<Arc<Vec<Arc<Flight>>>>);

impl Deref for Flights {
    type Target = [Arc<Flight>];

    fn deref(&self) -> &[Arc<Flight>] {
        self.0.as_ref().map_or(&[], |flights| flights)
    }
}

impl FromIterator<Arc<Flight>> for Flights {
    fn from_iter<I: IntoIterator<Item = Arc<Flight>>>(flights: I) -> Self {
        let flights: Vec<_> = flights.into_iter().collect();
        // Nothing is allocated for none.
        Self((!flights.is_empty()).then(|| Arc::new(flights)))
    }
}

/// How a flight ended.
#[derive(Clone)]
pub enum End {
    /// With a result.
    Landed(Cargo),
    /// Without: its leader failed, or was given up. Whoever boards next leads.
    Abandoned,
}

/// What somebody who asks for a call gets.
pub enum Boarded {
    /// The right to compute it.
    Leads(Leader),
    /// The sight of another's.
    Waits(Waiting),
    /// Neither: the flight is waiting for what asks.
    Circular,
}

impl Flight {
    pub(super) fn new(route: Route, parents: Flights) -> Arc<Self> {
        Arc::new(Self {
            route,
            parents,
            begun: Instant::now(),
            held: Mutex::default(),
            claimless: AtomicBool::new(false),
            seeks: AtomicBool::new(false),
            thread: AtomicI32::new(0),
            polls: OnceLock::new(),
            awaits: Mutex::default(),
            state: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// Which call it is.
    pub fn route(&self) -> Route {
        self.route
    }

    pub(super) fn is_claimless(&self) -> bool {
        self.claimless.load(Relaxed)
    }

    /// Whether its leader waits for the store's claim.
    pub fn seeks_claim(&self) -> bool {
        self.seeks.load(Relaxed)
    }

    /// The thread that runs the body, by the system's number, while one does.
    pub fn thread(&self) -> Option<i32> {
        Some(self.thread.load(Relaxed)).filter(|thread| *thread != 0)
    }

    /// Which thread runs the body from now on; 0 for none.
    pub fn runs_on(&self, thread: i32) {
        self.thread.store(thread, Relaxed);
    }

    /// Since when it is on its way.
    pub fn begun(&self) -> Instant {
        self.begun
    }

    /// How its leader is polled; `None` where that is no future.
    pub fn polls(&self) -> Option<&std::sync::Arc<Polls>> {
        self.polls.get()
    }

    /// The same, of a leader that is a future.
    pub fn polls_of_future(&self) -> &std::sync::Arc<Polls> {
        self.polls.get_or_init(std::sync::Arc::default)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The flights within whose bodies it is waited for.
    pub(super) fn waited_for_from(&self) -> Vec<Arc<Self>> {
        self.lock().from.clone()
    }

    pub(super) fn held(&self) -> MutexGuard<'_, Option<Arc<dyn Held>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the store's claim go. Before the next of this process may ask for it.
    fn let_go(&self) {
        let held = self.held().take();
        drop(held);
    }

    /// Ends it, and takes it off the table.
    fn leave(&self, end: End) {
        self.let_go();
        let part = table::part(self.route);
        part.end(&mut part.lock(), self.route);
        let mut state = self.lock();
        let (wakers, waiting) = (mem::take(&mut state.wakers), state.waiting);
        state.end = (waiting > 0).then_some(end);
        drop(state);
        if waiting > 0 {
            self.changed.notify_all();
        }
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// The right to compute a call, and the duty to say what became of it. Dropped, it is given up.
#[must_use = "dropping it gives the call up"]
pub struct Leader {
    flight: Arc<Flight>,
    ended: bool,
}

/// A moment, as far as flights of one call are concerned.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    route: Route,
    ended: u64,
}

impl Moment {
    /// Now, for flights of this call.
    pub fn now(route: Route) -> Self {
        Self { route, ended: table::part(route).ended() }
    }

    /// Whether one may have ended since then. It is never denied falsely.
    pub fn is_past(&self) -> bool {
        table::part(self.route).may_have_ended(self.route, self.ended)
    }
}

/// Asks for the call, from within the bodies of these flights.
pub fn board(route: Route, from: &Flights) -> Boarded {
    let part = table::part(route);
    let mut flights = part.lock();
    let flight = match flights.flying.entry(route) {
        std::collections::hash_map::Entry::Vacant(free) => {
            let flight = Flight::new(route, from.clone());
            free.insert(flight.clone());
            return Boarded::Leads(Leader { flight, ended: false });
        }
        std::collections::hash_map::Entry::Occupied(taken) => taken.get().clone(),
    };
    // Counted while it cannot land, so that its leader knows that somebody waits for the result.
    flight.lock().waiting += 1;
    drop(flights);
    let mut waiting = Waiting { flight, from: Flights::default() };
    if graph::begin(&waiting.flight, from) {
        waiting.from = from.clone();
        Boarded::Waits(waiting)
    } else {
        Boarded::Circular
    }
}

impl Leader {
    /// The flight, for what runs within it.
    pub fn flight(&self) -> &Arc<Flight> {
        &self.flight
    }

    /// Keeps the store's claim until the flight has ended.
    pub fn hold(&self, held: Arc<dyn Held>) {
        *self.flight.held() = Some(held);
    }

    /// Returns the store's claim, if it has one.
    pub fn held(&self) -> Option<Arc<dyn Held>> {
        self.flight.held().clone()
    }

    /// Whether it waits for the store's claim, from now on.
    pub fn seek(&self, seeks: bool) {
        self.flight.seeks.store(seeks, Relaxed);
    }

    /// Goes on without the store's claim: what the body waits for cannot be seen by others.
    pub fn go_without(&self) {
        self.flight.claimless.store(true, Relaxed);
    }

    /// Whether the store has given the claim to another meanwhile.
    pub fn is_late(&self) -> bool {
        self.flight.held().as_ref().is_some_and(|held| held.is_late())
    }

    /// Ends the flight: what it brings is recorded. Whoever waits gets the cargo, which is made if anybody does; where it
    /// cannot be made, they have to look for what is recorded.
    pub fn land(mut self, cargo: impl FnOnce() -> Option<Cargo>) {
        self.flight.let_go();
        let part = table::part(self.flight.route);
        {
            let mut flights = part.lock();
            // Nobody joins from here on, and nobody is left behind: who has joined is counted.
            if self.flight.lock().waiting == 0 {
                part.end(&mut flights, self.flight.route);
                self.ended = true;
                return;
            }
        }
        // Outside the lock, since it copies what may be large.
        let end = cargo().map_or(End::Abandoned, End::Landed);
        self.ended = true;
        self.flight.leave(end);
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        // In a forked child the flight is the parent's, where its body still runs.
        if !self.ended && !is_child() {
            self.flight.leave(End::Abandoned);
        }
    }
}

/// The sight of a flight that somebody else leads.
#[must_use]
pub struct Waiting {
    flight: Arc<Flight>,
    /// What it was begun from, as the flight knows.
    from: Flights,
}

impl Waiting {
    /// The flight.
    pub fn flight(&self) -> &Arc<Flight> {
        &self.flight
    }

    /// Since when the flight is on its way.
    pub fn begun(&self) -> Instant {
        self.flight.begun
    }

    /// Blocks until the flight has ended, or until then; `None` where it has not.
    pub fn wait(&self, until: Option<Instant>) -> Option<End> {
        let mut state = self.flight.lock();
        loop {
            if let Some(end) = &state.end {
                return Some(end.clone());
            }
            state = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                None => self.flight.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => return None,
                Some(left) => self.flight.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }

    /// How the flight has ended; else the waker is kept.
    pub fn poll(&self, waker: &Waker) -> Option<End> {
        let mut state = self.flight.lock();
        if state.end.is_none() && !state.wakers.iter().any(|kept| kept.will_wake(waker)) {
            state.wakers.push(waker.clone());
        }
        state.end.clone()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if is_child() {
            return;
        }
        let mut state = self.flight.lock();
        state.waiting -= 1;
        // Nobody asks any more for what it has brought, which may be large.
        let unwanted = if state.waiting == 0 { state.end.take() } else { None };
        for from in self.from.iter() {
            if let Some(at) = state.from.iter().position(|known| Arc::ptr_eq(known, from)) {
                state.from.swap_remove(at);
            }
        }
        drop(state);
        drop(unwanted);
    }
}

impl Flight {
    /// Notes that it is waited for from there.
    pub(super) fn add_from(&self, from: &[Arc<Self>]) {
        self.lock().from.extend_from_slice(from);
    }
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flight").field("route", &self.route).finish_non_exhaustive()
    }
}
