//! The calls that a worker has the right to compute, as its pool's process keeps them: they end with the worker.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use fleche_core::{
    CallKey, CallStore, Result,
    claim::{Boarded, Claim, Flight, Leader, Owed, Route, board},
    job,
};
use serde::{Deserialize, Serialize};

/// The right to compute the call of a task, from when the task is sent until it has ended.
#[derive(Clone, Default)]
pub(super) struct TaskRight(Arc<Mutex<Option<Leader>>>);

impl TaskRight {
    pub(super) fn set(&self, leader: Leader) {
        *self.lock() = Some(leader);
    }

    /// Gives the right up, to the next who waits. What was computed is recorded by now, or will not be.
    pub(super) fn end(&self) {
        let leader = self.lock().take();
        drop(leader);
    }

    /// The flight of the task's call.
    fn flight(&self) -> Option<Arc<Flight>> {
        self.lock().as_ref().map(|leader| leader.flight().clone())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Leader>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a worker is told that asks for a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Granted {
    /// It has the right of this number until it gives it back.
    Right(u64),
    /// Somebody else has it.
    Taken,
    /// Somebody else has it, and waits for the worker.
    Circular,
}

/// The rights of one worker.
pub(super) struct Rights {
    state: Mutex<State>,
    /// The tasks that it has.
    owed: Arc<Owed>,
}

#[derive(Default)]
struct State {
    /// What the task that runs is part of.
    task: Vec<Arc<Flight>>,
    given: HashMap<u64, Leader>,
    next: u64,
    /// Whether the worker is gone.
    closed: bool,
}

impl Rights {
    pub(super) fn new(owed: Arc<Owed>) -> Self {
        Self { state: Mutex::default(), owed }
    }

    /// A task starts that has this right, as part of these flights.
    pub(super) fn task(&self, right: &TaskRight, of: &[Arc<Flight>]) {
        self.lock().task = right.flight().into_iter().chain(of.iter().cloned()).collect();
    }

    /// Asks for the right to compute a call, from within these that the worker computes already.
    pub(super) fn claim(&self, calls: &Arc<dyn CallStore>, key: CallKey, within: &[CallKey]) -> Result<Granted> {
        let leader = match self.board(calls, key, within) {
            Boarded::Leads(leader) => leader,
            Boarded::Waits(_) => return Ok(Granted::Taken),
            Boarded::Circular => return Ok(Granted::Circular),
        };
        match calls.claim(&key)? {
            Claim::WithinProcess => {}
            Claim::Held(held) => leader.hold(held),
            Claim::Taken(_) => return Ok(Granted::Taken),
        }
        Ok(self.give(leader))
    }

    /// As [`claim`](Self::claim); waits until somebody else has it no longer.
    pub(super) fn wait(&self, calls: &Arc<dyn CallStore>, key: CallKey, within: &[CallKey]) -> Result<Granted> {
        let _waits = self.owed.wait();
        let leader = loop {
            match self.board(calls, key, within) {
                Boarded::Leads(leader) => break leader,
                Boarded::Waits(flight) => drop(flight.wait(None)),
                Boarded::Circular => return Ok(Granted::Circular),
            }
        };
        match calls.claim(&key)? {
            Claim::WithinProcess => {}
            Claim::Held(held) => leader.hold(held),
            Claim::Taken(taken) => {
                let (completer, held) = job::channel();
                taken.when_held(Box::new(move |held| completer.complete(held)));
                // A claim that was lost on its way leaves the call to whoever leads here.
                if let Ok(held) = held.result() {
                    leader.hold(held?);
                }
            }
        }
        Ok(self.give(leader))
    }

    fn board(&self, calls: &Arc<dyn CallStore>, key: CallKey, within: &[CallKey]) -> Boarded {
        let store = calls.identity();
        let from = {
            let state = self.lock();
            let leads = state.given.values().map(Leader::flight);
            let asking = leads.filter(|flight| within.contains(&flight.route().key) && flight.route().store == store);
            state.task.iter().chain(asking).cloned().collect()
        };
        board(Route { store, key }, &from)
    }

    fn give(&self, leader: Leader) -> Granted {
        let mut state = self.lock();
        if state.closed {
            drop(state);
            // For nobody: it goes to the next.
            drop(leader);
            return Granted::Taken;
        }
        state.next += 1;
        let number = state.next;
        state.given.insert(number, leader);
        Granted::Right(number)
    }

    /// The worker gives a right back.
    pub(super) fn release(&self, number: u64) {
        let leader = self.lock().given.remove(&number);
        drop(leader);
    }

    /// The worker is gone.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let left = (std::mem::take(&mut state.given), std::mem::take(&mut state.task));
        drop(state);
        drop(left);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
