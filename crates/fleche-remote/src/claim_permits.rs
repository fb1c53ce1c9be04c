//! The permits of a client to compute calls. The server holds them, and releases them when the client is gone.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use fleche_core::{
    Cache, CallKey, CallStore, Result,
    claim::{Claim, ClaimHolder},
    job,
    spi::{
        CacheSpi, CallId, InFlightCall, InFlightCalls, Leader, LockResultExt, PendingReplies, PublishedWait, Role,
        join_call,
    },
};

use crate::operation::ClaimAnswer;

/// The permit to compute the call of a task, held from when the task is sent until it has ended.
#[derive(Clone, Default)]
pub struct TaskPermit(Arc<Mutex<Option<Leader>>>);

impl TaskPermit {
    /// Makes the task hold the permit of this leader.
    pub fn set(&self, leader: Leader) {
        *self.lock() = Some(leader);
    }

    /// Passes the permit to the next waiter. The result has been recorded by now, or will not be.
    pub fn end(&self) {
        let leader = self.lock().take();
        drop(leader);
    }

    /// Returns the in-flight call of the task, if the task has the permit.
    fn flight(&self) -> Option<Arc<InFlightCall>> {
        self.lock().as_ref().map(|leader| leader.flight().clone())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Leader>> {
        self.0.lock().ignore_poison()
    }
}

/// The permits of one client.
pub struct ClaimPermits {
    state: Mutex<State>,
    /// Counts the tasks that the client has yet to run.
    pending: Arc<PendingReplies>,
}

#[derive(Default)]
struct State {
    /// The in-flight calls that the running task is part of.
    task: Vec<Arc<InFlightCall>>,
    granted: HashMap<u64, Leader>,
    /// The first permit that the running task was granted: for its own call, or else for a call that its body makes. If
    /// the client asks for a claim without naming an enclosing call, this permit's call counts as the enclosing one.
    root: Option<u64>,
    next: u64,
    /// Whether the client is gone.
    closed: bool,
}

impl ClaimPermits {
    /// Creates the permits of a client that has yet to run `pending` tasks.
    pub fn new(pending: Arc<PendingReplies>) -> Self {
        Self { state: Mutex::default(), pending }
    }

    /// Notes that a task with this permit starts, as part of these in-flight calls.
    pub fn task(&self, permit: &TaskPermit, of: &[Arc<InFlightCall>]) {
        let mut state = self.lock();
        state.task = permit.flight().into_iter().chain(of.iter().cloned()).collect();
        // The first permit of an earlier task does not apply to this one.
        state.root = None;
    }

    /// Asks for the permit to compute a call, from within these calls that the client is already computing.
    pub(crate) fn claim(&self, calls: &ServedCalls, key: CallKey, within: &[CallKey]) -> Result<ClaimAnswer> {
        let leader = match self.join_call(calls, key, within) {
            Role::Leads(leader) => leader,
            Role::Waits(_) => return Ok(ClaimAnswer::Taken),
            Role::Cycle => return Ok(ClaimAnswer::Cycle),
        };
        match calls.claim(&key)? {
            // If the store is left alone, the call is computed without its claim.
            Some(Claim::WithinProcess) | None => {}
            Some(Claim::Held(held)) => leader.set_claim(held),
            Some(Claim::Taken(_)) => return Ok(ClaimAnswer::Taken),
        }
        Ok(self.grant(leader))
    }

    /// Like [`claim`](Self::claim), but waits until no other caller holds the claim.
    pub(crate) fn wait(&self, calls: &ServedCalls, key: CallKey, within: &[CallKey]) -> Result<ClaimAnswer> {
        let _waits = self.pending.wait();
        let leader = loop {
            match self.join_call(calls, key, within) {
                Role::Leads(leader) => break leader,
                Role::Waits(flight) => drop(flight.wait(None)),
                Role::Cycle => return Ok(ClaimAnswer::Cycle),
            }
        };
        match calls.claim(&key)? {
            Some(Claim::WithinProcess) | None => {}
            Some(Claim::Held(held)) => leader.set_claim(held),
            Some(Claim::Taken(taken)) => {
                // Other processes see what the client's calls wait for, and one of them proceeds if that is a cycle.
                let from = self.enclosing_calls(calls.identity(), within);
                let _published = PublishedWait::new(leader.flight().call_id(), &from);
                let (completer, held) = job::channel();
                leader.set_awaiting_claim(true);
                taken.when_acquired(Box::new(move |held| completer.complete(held)));
                let held = held.result();
                leader.set_awaiting_claim(false);
                // If the claim was lost on its way, the call is computed without it.
                if let Ok(held) = held {
                    leader.set_claim(held?);
                }
            }
        }
        Ok(self.grant(leader))
    }

    fn join_call(&self, calls: &ServedCalls, key: CallKey, within: &[CallKey]) -> Role {
        let store = calls.identity();
        join_call(CallId { store, key }, &self.enclosing_calls(store, within))
    }

    /// Returns the in-flight calls of this store within whose bodies the client makes its request.
    fn enclosing_calls(&self, store: usize, within: &[CallKey]) -> InFlightCalls {
        let state = self.lock();
        // Calls that have ended are no longer in the table.
        let named = state.granted.values().map(Leader::flight).filter(|flight| {
            let CallId { store: of, key } = flight.call_id();
            of == store && within.contains(&key)
        });
        let mut from: Vec<_> = named.cloned().collect();
        if from.is_empty() {
            let root = state.root.and_then(|root| state.granted.get(&root)).map(Leader::flight);
            from.extend(root.filter(|root| root.call_id().store == store).cloned());
        }
        state.task.iter().cloned().chain(from).collect()
    }

    fn grant(&self, leader: Leader) -> ClaimAnswer {
        let mut state = self.lock();
        if state.closed {
            drop(state);
            // The client is gone: dropping the leader hands the call to the next waiter.
            drop(leader);
            return ClaimAnswer::Taken;
        }
        state.next += 1;
        let number = state.next;
        state.root.get_or_insert(number);
        state.granted.insert(number, leader);
        ClaimAnswer::Permit(number)
    }

    /// Releases a permit that the client returns.
    pub(crate) fn release(&self, number: u64) {
        let leader = self.lock().granted.remove(&number);
        drop(leader);
    }

    /// Releases all permits, because the client is gone.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let left = (std::mem::take(&mut state.granted), std::mem::take(&mut state.task));
        drop(state);
        drop(left);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().ignore_poison()
    }
}

/// A call store, with a cache of it that knows whether the store is left alone.
pub(crate) struct ServedCalls {
    pub(crate) calls: Arc<dyn CallStore>,
    pub(crate) cache: Option<Cache>,
}

impl ServedCalls {
    pub(crate) fn identity(&self) -> usize {
        self.calls.identity()
    }

    /// Requests the claim of a call. Returns `None` if the store is left alone.
    pub(crate) fn claim(&self, key: &CallKey) -> Result<Option<Claim>> {
        self.cache.as_ref().map_or_else(|| self.calls.claim(key).map(Some), |cache| cache.claim_for_call(key))
    }

    pub(crate) fn claim_holder(&self, key: &CallKey) -> Result<Option<ClaimHolder>> {
        self.cache.as_ref().map_or_else(|| self.calls.claim_holder(key), |cache| cache.holder_for_call(key))
    }
}
