//! The calls that a worker has the right to compute, as its pool's process keeps them: they end with the worker.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use fleche_core::{
    CallKey, CallStore, Result,
    claim::{Boarded, Claim, Flight, Flights, Leader, Owed, Published, Route, board},
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
    /// The first that was given to the task: its own call's, or else one that its body makes. What the worker asks for
    /// without saying from within what is taken for a part of that, as is all that runs there meanwhile.
    root: Option<u64>,
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
        let mut state = self.lock();
        state.task = right.flight().into_iter().chain(of.iter().cloned()).collect();
        // What an earlier task was given first is none of this one's.
        state.root = None;
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
                // Other processes see what the worker's calls wait for, and one of them goes on where that is a circle.
                let from = self.from(calls.identity(), within);
                let _published = Published::new(leader.flight().route(), &from);
                let (completer, held) = job::channel();
                leader.seek(true);
                taken.when_held(Box::new(move |held| completer.complete(held)));
                let held = held.result();
                leader.seek(false);
                // A claim that was lost on its way leaves the call to whoever leads here.
                if let Ok(held) = held {
                    leader.hold(held?);
                }
            }
        }
        Ok(self.give(leader))
    }

    fn board(&self, calls: &Arc<dyn CallStore>, key: CallKey, within: &[CallKey]) -> Boarded {
        let store = calls.identity();
        board(Route { store, key }, &self.from(store, within))
    }

    /// The flights of this store that the worker asks from within.
    fn from(&self, store: usize, within: &[CallKey]) -> Flights {
        let state = self.lock();
        // What has ended meanwhile is no longer there.
        let told = state.given.values().map(Leader::flight).filter(|flight| {
            let Route { store: of, key } = flight.route();
            of == store && within.contains(&key)
        });
        let mut from: Vec<_> = told.cloned().collect();
        if from.is_empty() {
            let root = state.root.and_then(|root| state.given.get(&root)).map(Leader::flight);
            from.extend(root.filter(|root| root.route().store == store).cloned());
        }
        state.task.iter().cloned().chain(from).collect()
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
        state.root.get_or_insert(number);
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
