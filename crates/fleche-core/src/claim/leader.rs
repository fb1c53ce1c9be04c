//! Joining a call: the first caller becomes its leader, the others wait for its result.

use std::{collections::hash_map::Entry, sync::atomic::Ordering::Relaxed, task::Waker, time::Instant};

use super::{
    ClaimGuard,
    in_flight::{CallEnd, CallId, InFlightCall, InFlightCalls, SharedResult, begin_wait, shard_of},
    sync::{Arc, LockResultExt, is_child},
};

/// The outcome of a request for a call.
pub enum Role {
    /// The caller leads: it has the permit to compute the call.
    Leads(Leader),
    /// Another caller leads; this one waits.
    Waits(Waiter),
    /// Waiting would form a cycle, because the in-flight call waits for the caller.
    Cycle,
}

/// The permit to compute a call. Dropping it without [`complete`](Self::complete) abandons the call, and the next caller leads.
#[must_use = "dropping it abandons the call"]
pub struct Leader {
    flight: Arc<InFlightCall>,
    ended: bool,
}

/// A point in time that tells whether in-flight calls with the same key have ended since.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Epoch {
    call_id: CallId,
    ended: u64,
}

impl Epoch {
    /// Returns the present epoch of the call.
    pub(crate) fn now(call_id: CallId) -> Self {
        Self { call_id, ended: shard_of(call_id).ended() }
    }

    /// Returns whether an in-flight call with the same key may have ended since. Never returns `false` if one has.
    pub(crate) fn is_past(&self) -> bool {
        shard_of(self.call_id).may_have_ended(self.call_id, self.ended)
    }
}

/// Requests the call from within the bodies of the in-flight calls in `from`.
pub fn join_call(call_id: CallId, from: &InFlightCalls) -> Role {
    let shard = shard_of(call_id);
    let mut flights = shard.lock();
    let flight = match flights.by_id.entry(call_id) {
        Entry::Vacant(free) => {
            let flight = InFlightCall::new(call_id, from.clone());
            free.insert(flight.clone());
            return Role::Leads(Leader { flight, ended: false });
        }
        Entry::Occupied(taken) => taken.get().clone(),
    };
    // Counted under the table's lock, so the leader cannot end the call without seeing that a waiter needs the result.
    flight.lock().waiting += 1;
    drop(flights);
    let mut waiting = Waiter { flight, from: InFlightCalls::default() };
    if begin_wait(&waiting.flight, from) {
        waiting.from = from.clone();
        Role::Waits(waiting)
    } else {
        Role::Cycle
    }
}

impl Leader {
    /// Returns the in-flight call, to be passed to the work within its body.
    pub fn flight(&self) -> &Arc<InFlightCall> {
        &self.flight
    }

    /// Keeps the store's claim until the call has ended.
    pub fn set_claim(&self, held: Arc<dyn ClaimGuard>) {
        *self.flight.held() = Some(held);
    }

    /// Returns the store's claim, if the call has one.
    pub fn held(&self) -> Option<Arc<dyn ClaimGuard>> {
        self.flight.held().clone()
    }

    /// Sets whether the leader waits for the store's claim.
    pub fn set_awaiting_claim(&self, awaits_claim: bool) {
        self.flight.awaits_claim.store(awaits_claim, Relaxed);
    }

    /// Proceeds without the store's claim. Other processes can then not see what the body waits for.
    pub fn proceed_unclaimed(&self) {
        self.flight.claimless.store(true, Relaxed);
    }

    /// Returns whether the store's claim was lost to another holder.
    pub fn is_expired(&self) -> bool {
        self.flight.held().as_ref().is_some_and(|held| held.is_expired())
    }

    /// Ends the call, whose result has been recorded. `result` is called only if there are waiters, and its value is
    /// shared with them. If it returns `None`, the waiters look the record up themselves.
    pub fn complete(mut self, result: impl FnOnce() -> Option<SharedResult>) {
        self.flight.release_claim();
        let shard = shard_of(self.flight.call_id);
        {
            let mut flights = shard.lock();
            // No waiter can join under this lock, and those that have joined are counted.
            if self.flight.lock().waiting == 0 {
                shard.end(&mut flights, self.flight.call_id);
                self.ended = true;
                return;
            }
        }
        // Outside the lock, because copying the result may take long.
        let end = result().map_or(CallEnd::Abandoned, CallEnd::Completed);
        self.ended = true;
        self.flight.leave(end);
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        // In a forked child the call belongs to the parent, where its body still runs.
        if !self.ended && !is_child() {
            self.flight.leave(CallEnd::Abandoned);
        }
    }
}

/// A wait for a call that another caller leads.
#[must_use]
pub struct Waiter {
    flight: Arc<InFlightCall>,
    /// The in-flight calls that this wait was registered for.
    from: InFlightCalls,
}

impl Waiter {
    /// Returns the awaited call.
    pub fn flight(&self) -> &Arc<InFlightCall> {
        &self.flight
    }

    /// Returns when the leader registered the call.
    pub fn begun(&self) -> Instant {
        self.flight.begun
    }

    /// Blocks until the call has ended or `until` has passed. Returns `None` in the second case.
    pub fn wait(&self, until: Option<Instant>) -> Option<CallEnd> {
        let mut state = self.flight.lock();
        loop {
            if let Some(end) = &state.end {
                return Some(end.clone());
            }
            state = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                None => self.flight.changed.wait(state).ignore_poison(),
                Some(left) if left.is_zero() => return None,
                Some(left) => self.flight.changed.wait_timeout(state, left).ignore_poison().0,
            };
        }
    }

    /// Returns the outcome of the call, or registers the waker and returns `None`.
    pub fn poll(&self, waker: &Waker) -> Option<CallEnd> {
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
