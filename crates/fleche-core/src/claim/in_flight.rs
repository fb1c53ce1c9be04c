//! In-flight calls of this process: one leader computes a call, and the other callers wait for its result.

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
    Held,
    poll_tracking::Polls,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, is_child},
    table, wait_graph,
};
use crate::call::CallKey;

/// A call in one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallId {
    /// The store's [identity](crate::CallStore::identity).
    pub store: usize,
    /// The call.
    pub key: CallKey,
}

/// The result that a leader shares with its waiters, in the type that is recorded.
pub type SharedResult = Arc<dyn Any + Send + Sync>;

/// A call that is being computed or is about to be.
pub struct Flight {
    pub(super) route: CallId,
    /// The in-flight calls within whose bodies this one was requested; they cannot end before it has.
    pub(super) parents: Flights,
    /// When the leader registered the call.
    pub(super) begun: Instant,
    /// The store's claim, if the store grants claims.
    held: Mutex<Option<Arc<dyn Held>>>,
    /// Whether the leader computes without the claim, which another process holds.
    claimless: AtomicBool,
    /// Whether the leader waits for the claim.
    seeks: AtomicBool,
    /// The system's id of the thread that runs the body; 0 if the body does not run on a single thread.
    thread: AtomicI32,
    /// How the leader is polled, if it is a future.
    polls: OnceLock<std::sync::Arc<Polls>>,
    /// The calls that are awaited within the body.
    pub(super) awaits: Mutex<Vec<CallId>>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    end: Option<End>,
    /// The number of waiters.
    waiting: usize,
    wakers: Vec<Waker>,
    /// The in-flight calls whose bodies wait for this one.
    from: Vec<Arc<Flight>>,
}

/// A list of in-flight calls, usually empty. Small, and cheap to clone.
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
        // An empty list needs no allocation.
        Self((!flights.is_empty()).then(|| Arc::new(flights)))
    }
}

/// How an in-flight call ended.
#[derive(Clone)]
pub enum End {
    /// The leader computed this result.
    Completed(SharedResult),
    /// The leader shared no result: it failed, was dropped, or could not share its value. The next caller leads.
    Abandoned,
}

/// The outcome of a request for a call.
pub enum Role {
    /// The caller leads: it has the permit to compute the call.
    Leads(Leader),
    /// Another caller leads; this one waits.
    Waits(Waiter),
    /// Waiting would form a cycle, because the in-flight call waits for the caller.
    Cycle,
}

impl Flight {
    pub(super) fn new(route: CallId, parents: Flights) -> Arc<Self> {
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

    /// Returns the call and its store.
    pub fn route(&self) -> CallId {
        self.route
    }

    pub(super) fn is_claimless(&self) -> bool {
        self.claimless.load(Relaxed)
    }

    /// Returns whether the leader waits for the store's claim.
    pub fn is_awaiting_claim(&self) -> bool {
        self.seeks.load(Relaxed)
    }

    /// Returns the system's id of the thread that runs the body, or `None` while no thread does.
    pub fn thread(&self) -> Option<i32> {
        Some(self.thread.load(Relaxed)).filter(|thread| *thread != 0)
    }

    /// Sets the thread that runs the body from now on; 0 for none.
    pub fn runs_on(&self, thread: i32) {
        self.thread.store(thread, Relaxed);
    }

    /// Returns when the leader registered the call.
    pub fn begun(&self) -> Instant {
        self.begun
    }

    /// Returns how the leader is polled, or `None` if it is not a future.
    pub fn polls(&self) -> Option<&std::sync::Arc<Polls>> {
        self.polls.get()
    }

    /// Returns how the leader is polled, creating the record if needed. For a leader that is a future.
    pub fn polls_of_future(&self) -> &std::sync::Arc<Polls> {
        self.polls.get_or_init(std::sync::Arc::default)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the in-flight calls whose bodies wait for this one.
    pub(super) fn waited_for_from(&self) -> Vec<Arc<Self>> {
        self.lock().from.clone()
    }

    pub(super) fn held(&self) -> MutexGuard<'_, Option<Arc<dyn Held>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Releases the store's claim. Must happen before the next caller in this process can ask for it.
    fn let_go(&self) {
        let held = self.held().take();
        drop(held);
    }

    /// Ends the call and removes it from the table.
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

/// The permit to compute a call. Dropping it without [`land`](Self::land) abandons the call, and the next caller leads.
#[must_use = "dropping it abandons the call"]
pub struct Leader {
    flight: Arc<Flight>,
    ended: bool,
}

/// A point in time that tells whether in-flight calls with the same key have ended since.
#[derive(Clone, Copy, Debug)]
pub struct Epoch {
    route: CallId,
    ended: u64,
}

impl Epoch {
    /// Returns the present, for in-flight calls of this call.
    pub fn now(route: CallId) -> Self {
        Self { route, ended: table::part(route).ended() }
    }

    /// Returns whether such a call may have ended since. Never returns `false` if one has.
    pub fn is_past(&self) -> bool {
        table::part(self.route).may_have_ended(self.route, self.ended)
    }
}

/// Requests the call from within the bodies of the in-flight calls in `from`.
pub fn join_call(route: CallId, from: &Flights) -> Role {
    let part = table::part(route);
    let mut flights = part.lock();
    let flight = match flights.by_id.entry(route) {
        std::collections::hash_map::Entry::Vacant(free) => {
            let flight = Flight::new(route, from.clone());
            free.insert(flight.clone());
            return Role::Leads(Leader { flight, ended: false });
        }
        std::collections::hash_map::Entry::Occupied(taken) => taken.get().clone(),
    };
    // Counted under the table's lock, so the leader cannot end the call without seeing that a waiter needs the result.
    flight.lock().waiting += 1;
    drop(flights);
    let mut waiting = Waiter { flight, from: Flights::default() };
    if wait_graph::begin(&waiting.flight, from) {
        waiting.from = from.clone();
        Role::Waits(waiting)
    } else {
        Role::Cycle
    }
}

impl Leader {
    /// Returns the in-flight call, to be passed to what runs within its body.
    pub fn flight(&self) -> &Arc<Flight> {
        &self.flight
    }

    /// Keeps the store's claim until the call has ended.
    pub fn hold(&self, held: Arc<dyn Held>) {
        *self.flight.held() = Some(held);
    }

    /// Returns the store's claim, if the call has one.
    pub fn held(&self) -> Option<Arc<dyn Held>> {
        self.flight.held().clone()
    }

    /// Sets whether the leader waits for the store's claim.
    pub fn seek(&self, seeks: bool) {
        self.flight.seeks.store(seeks, Relaxed);
    }

    /// Proceeds without the store's claim. Other processes can then not see what the body waits for.
    pub fn proceed_unclaimed(&self) {
        self.flight.claimless.store(true, Relaxed);
    }

    /// Returns whether the store's claim was lost to another holder.
    pub fn is_expired(&self) -> bool {
        self.flight.held().as_ref().is_some_and(|held| held.is_expired())
    }

    /// Ends the call, whose result has been recorded. `cargo` is called only if there are waiters, and its value is
    /// shared with them. If it returns `None`, the waiters look the record up themselves.
    pub fn land(mut self, cargo: impl FnOnce() -> Option<SharedResult>) {
        self.flight.let_go();
        let part = table::part(self.flight.route);
        {
            let mut flights = part.lock();
            // No waiter can join under this lock, and those that have joined are counted.
            if self.flight.lock().waiting == 0 {
                part.end(&mut flights, self.flight.route);
                self.ended = true;
                return;
            }
        }
        // Outside the lock, because copying the result may take long.
        let end = cargo().map_or(End::Abandoned, End::Completed);
        self.ended = true;
        self.flight.leave(end);
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        // In a forked child the call belongs to the parent, where its body still runs.
        if !self.ended && !is_child() {
            self.flight.leave(End::Abandoned);
        }
    }
}

/// A wait for a call that another caller leads.
#[must_use]
pub struct Waiter {
    flight: Arc<Flight>,
    /// The in-flight calls that this wait was registered for.
    from: Flights,
}

impl Waiter {
    /// Returns the awaited call.
    pub fn flight(&self) -> &Arc<Flight> {
        &self.flight
    }

    /// Returns when the leader registered the call.
    pub fn begun(&self) -> Instant {
        self.flight.begun
    }

    /// Blocks until the call has ended or `until` has passed. Returns `None` in the second case.
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

    /// Returns how the call has ended, or registers the waker and returns `None`.
    pub fn poll(&self, waker: &Waker) -> Option<End> {
        let mut state = self.flight.lock();
        if state.end.is_none() && !state.wakers.iter().any(|kept| kept.will_wake(waker)) {
            state.wakers.push(waker.clone());
        }
        state.end.clone()
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if is_child() {
            return;
        }
        let mut state = self.flight.lock();
        state.waiting -= 1;
        // The last waiter frees the result, which may be large.
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
    /// Records that these in-flight calls wait for this one.
    pub(super) fn add_from(&self, from: &[Arc<Self>]) {
        self.lock().from.extend_from_slice(from);
    }
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flight").field("route", &self.route).finish_non_exhaustive()
    }
}
