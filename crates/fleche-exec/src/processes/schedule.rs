//! Which worker gets which task, and when: under credit, so that what has not started can go elsewhere.

mod deadlines;
mod reports;

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use fleche_core::JobError;

use super::{
    CLOSED, ProcessPoolStats,
    hand::{self, Hand},
    serve::Servers,
    waiting::Waiting,
    wire::Wire,
};
use crate::budget::Budget;
use deadlines::Deadlines;

/// A pool's tasks and workers.
pub(super) struct Schedule {
    state: Mutex<State>,
    /// A worker has ended.
    ended: Condvar,
    /// There is an earlier deadline than before.
    due: Condvar,
    limit: usize,
    /// How many tasks a worker is given in all.
    pub(super) replace_after: Option<u64>,
    pub(super) wire: Wire,
    pub(super) servers: Arc<Servers>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    hands: Vec<Hand>,
    free: Budget,
    deadlines: Deadlines,
    closed: bool,
    killed: bool,
    next: u64,
    /// Workers that ended before they could take a task, one after the other.
    stillborn: usize,
    stats: ProcessPoolStats,
}

/// Jobs to be ended once the lock is free, since that runs code of others.
#[derive(Default)]
struct Ended(Vec<(Waiting, JobError)>);

impl Ended {
    fn add(&mut self, tasks: impl IntoIterator<Item = Waiting>, why: &JobError) {
        self.0.extend(tasks.into_iter().map(|task| (task, why.clone())));
    }

    fn tell(self) {
        for (task, why) in self.0 {
            task.reply.keep(Err(why));
        }
    }
}

impl Schedule {
    pub(super) fn new(limit: usize, replace_after: Option<u64>, free: Budget) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State { free, ..State::default() }),
            ended: Condvar::new(),
            due: Condvar::new(),
            limit,
            replace_after,
            wire: Wire::default(),
            servers: Arc::default(),
        })
    }

    /// No code of others runs under the lock, so it is never left half changed.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stats(&self) -> ProcessPoolStats {
        self.lock().stats
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Takes a task in, and gives it to a worker if one has room for it.
    pub(super) fn accept(self: &Arc<Self>, task: Waiting) {
        let mut state = self.lock();
        if state.closed {
            drop(state);
            return task.reply.keep(Err(JobError::rejected(CLOSED)));
        }
        state.stats.received += 1;
        state.waiting.push_back(task);
        self.dispatch(state, Ended::default());
    }

    /// Hands out what can be handed out, in order. Ends workers that have nothing to do any more. Then ends these jobs.
    fn dispatch(self: &Arc<Self>, mut state: MutexGuard<'_, State>, mut ended: Ended) {
        if state.killed {
            ended.add(mem::take(&mut state.waiting), &JobError::Cancelled);
        }
        loop {
            match self.give_first(&mut state, &mut ended) {
                Ok(true) => {}
                Err(why) if state.hands.is_empty() => {
                    ended.add(mem::take(&mut state.waiting), &JobError::rejected(why));
                    break;
                }
                Ok(false) | Err(_) => break,
            }
        }
        for hand in state.hands.iter_mut().filter(|hand| hand.is_spent()) {
            hand.end();
        }
        if state.waiting.is_empty() {
            if state.hands.iter().any(Hand::is_idle) {
                state.hands.iter_mut().for_each(Hand::take_back);
            }
            if state.closed && !state.hands.iter().any(Hand::is_busy) {
                state.hands.iter_mut().for_each(Hand::end);
            }
        }
        drop(state);
        ended.tell();
    }

    /// Gives the first waiting task to a worker: an idle one, else a new one, if what it asks for is free; else one that
    /// works through short tasks alike. Or passes over it, if it was cancelled. Whether it is not the first any more; an error
    /// where no worker starts.
    fn give_first(self: &Arc<Self>, state: &mut State, ended: &mut Ended) -> Result<bool, String> {
        let Some(task) = state.waiting.front() else { return Ok(false) };
        if task.reply.is_cancelled() {
            ended.add(state.waiting.pop_front(), &JobError::Cancelled);
            return Ok(true);
        }
        let demand = task.wants.demand;
        let idle = if state.free.has(demand) { self.idle(state)? } else { None };
        let Some(at) = idle.or_else(|| behind_others(state)) else { return Ok(false) };
        let Some(task) = state.waiting.pop_front() else { return Ok(false) };
        // From here on it cannot be cancelled, unless it was a moment ago.
        if !task.reply.start() {
            ended.add([task], &JobError::Cancelled);
            return Ok(true);
        }
        let grant = idle.map(|_| state.free.take(demand));
        state.next += 1;
        let number = state.next;
        state.hands[at].give(number, task, grant);
        Ok(true)
    }

    /// The place of an idle worker with the environment that the first task asks for, started if there may be one more.
    fn idle(self: &Arc<Self>, state: &mut State) -> Result<Option<usize>, String> {
        let Some(env) = state.waiting.front().map(|task| task.wants.env.clone()) else { return Ok(None) };
        if let Some(at) = state.hands.iter().position(|hand| hand.is_idle() && hand.has(&env)) {
            return Ok(Some(at));
        }
        if state.hands.len() < self.limit {
            state.next += 1;
            let hand = hand::start(state.next, self, env).map_err(|error| error.to_string())?;
            state.hands.push(hand);
            state.stats.workers += 1;
            return Ok(Some(state.hands.len() - 1));
        }
        // Makes room: when it is gone, this comes round again.
        if let Some(other) = state.hands.iter_mut().find(|hand| hand.is_idle()) {
            other.end();
        }
        Ok(None)
    }

    /// Accepts nothing more.
    pub(super) fn close(self: &Arc<Self>) {
        let mut state = self.lock();
        state.closed = true;
        self.dispatch(state, Ended::default());
    }

    /// Accepts nothing more, cancels what waits, and kills every worker.
    pub(super) fn kill(self: &Arc<Self>) {
        let mut state = self.lock();
        state.closed = true;
        state.killed = true;
        state.hands.iter_mut().for_each(Hand::kill);
        self.dispatch(state, Ended::default());
    }

    /// Cancels what no worker has started.
    pub(super) fn cancel_waiting(self: &Arc<Self>) {
        let mut state = self.lock();
        let mut ended = Ended::default();
        ended.add(mem::take(&mut state.waiting), &JobError::Cancelled);
        state.hands.iter_mut().for_each(Hand::cancel_waiting);
        self.dispatch(state, ended);
    }

    /// Waits until all workers have ended; not on one of the pool's own threads, which they need to end.
    pub(super) fn wait(&self) {
        if thread::current().name() == Some(hand::THREAD) {
            return;
        }
        let working = |state: &mut State| !(state.hands.is_empty() && state.waiting.is_empty());
        drop(self.ended.wait_while(self.lock(), working));
    }
}

/// The place of a worker that is busy with short tasks that take as much as the first waiting one, and has room for it.
fn behind_others(state: &State) -> Option<usize> {
    let task = state.waiting.front()?;
    let with_room = (0..state.hands.len()).filter(|at| state.hands[*at].has_room(task));
    with_room.min_by_key(|at| state.hands[*at].given())
}
