//! Which worker gets which task, and when: under credit, so that what has not started can go elsewhere.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use bytes::Bytes;
use fleche_core::{JobError, context::Binding, executor::Reply};

use super::{
    CLOSED, ProcessPoolStats,
    hand::{self, Hand},
    serve::Servers,
    stores::Served,
};

/// An accepted task that no worker has started.
pub(super) struct Waiting {
    pub(super) reply: Reply,
    /// The parts of its frame.
    pub(super) parts: Vec<Bytes>,
    /// Keeps the stores that it needs open until it is done.
    pub(super) _binding: Option<Binding>,
}

/// A pool's tasks and workers.
pub(super) struct Schedule {
    state: Mutex<State>,
    /// A worker has ended.
    ended: Condvar,
    limit: usize,
    pub(super) served: Served,
    pub(super) servers: Arc<Servers>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    hands: Vec<Hand>,
    closed: bool,
    killed: bool,
    next: u64,
    /// Workers that ended before they could take a task, one after the other.
    stillborn: usize,
    stats: ProcessPoolStats,
}

/// So many workers in a row may fail to start before what waits is refused.
const STILLBORN: usize = 3;

impl Schedule {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        let (state, ended) = (Mutex::default(), Condvar::new());
        Arc::new(Self { state, ended, limit, served: Served::default(), servers: Arc::default() })
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
        self.dispatch(state);
    }

    /// Hands out what can be handed out. Ends idle workers, where nothing will come any more.
    fn dispatch(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        // Let go after the lock: that runs code of others.
        let mut cancelled = Vec::new();
        let mut failed: Option<(VecDeque<_>, JobError)> = None;
        if state.killed {
            failed = Some((mem::take(&mut state.waiting), JobError::Cancelled));
        }
        while let Some(task) = state.waiting.front() {
            if task.reply.is_cancelled() {
                cancelled.extend(state.waiting.pop_front());
                continue;
            }
            let at = match self.room(&mut state) {
                Ok(Some(at)) => at,
                Err(why) if state.hands.is_empty() => {
                    failed = Some((mem::take(&mut state.waiting), JobError::rejected(why)));
                    break;
                }
                Ok(None) | Err(_) => break,
            };
            let Some(task) = state.waiting.pop_front() else { break };
            state.next += 1;
            let number = state.next;
            cancelled.extend(state.hands[at].give(number, task).err());
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
        drop(cancelled);
        let (tasks, why) = failed.unwrap_or((VecDeque::new(), JobError::Cancelled));
        for task in tasks {
            task.reply.keep(Err(why.clone()));
        }
    }

    /// The place of the worker that the first waiting task goes to: an idle one, else a new one, else one that works
    /// through short tasks. `None` if it has to wait.
    fn room(self: &Arc<Self>, state: &mut State) -> Result<Option<usize>, String> {
        if let Some(at) = state.hands.iter().position(Hand::is_idle) {
            return Ok(Some(at));
        }
        if state.hands.len() < self.limit {
            state.next += 1;
            let hand = hand::start(state.next, self).map_err(|error| error.to_string())?;
            state.hands.push(hand);
            state.stats.workers += 1;
            return Ok(Some(state.hands.len() - 1));
        }
        let size = state.waiting.front().map_or(0, |task| task.parts.iter().map(Bytes::len).sum());
        let with_room = (0..state.hands.len()).filter(|at| state.hands[*at].has_room(size));
        Ok(with_room.min_by_key(|at| state.hands[*at].given()))
    }

    /// A worker has shown to be the same program.
    pub(super) fn ready(&self) {
        self.lock().stillborn = 0;
    }

    pub(super) fn started(&self, worker: u64, number: u64) {
        let mut state = self.lock();
        state.stats.started += 1;
        // What travels with the task is not needed any more, and may be large.
        let parts = state.hands.iter_mut().find(|hand| hand.id == worker).map(|hand| hand.started(number));
        drop(state);
        drop(parts);
    }

    pub(super) fn done(self: &Arc<Self>, worker: u64, number: u64, took: Duration, outcome: Result<Bytes, JobError>) {
        let mut state = self.lock();
        let task = state.hands.iter_mut().find(|hand| hand.id == worker).and_then(|hand| hand.done(number, took));
        self.dispatch(state);
        if let Some(task) = task {
            task.reply.keep(outcome);
        }
    }

    pub(super) fn taken_back(self: &Arc<Self>, worker: u64, numbers: &[u64]) {
        let mut state = self.lock();
        let State { hands, waiting, .. } = &mut *state;
        let tasks = hands.iter_mut().find(|hand| hand.id == worker).map(|hand| hand.taken_back(numbers));
        tasks.into_iter().flatten().rev().for_each(|task| waiting.push_front(task));
        self.dispatch(state);
    }

    /// A worker is gone: what it had started is lost, the rest goes to others.
    pub(super) fn gone(self: &Arc<Self>, worker: u64, signal: Option<i32>, ready: bool, how: &str) {
        let mut state = self.lock();
        let Some(at) = state.hands.iter().position(|hand| hand.id == worker) else { return };
        let hand = state.hands.swap_remove(at);
        if !hand.is_ending() {
            state.stats.lost += 1;
        }
        let (running, mut rest) = hand.into_tasks();
        rest.reverse();
        for task in rest {
            state.waiting.push_front(task);
        }
        state.stillborn = if ready { 0 } else { state.stillborn + 1 };
        let refused = if state.stillborn >= STILLBORN { mem::take(&mut state.waiting) } else { VecDeque::new() };
        self.dispatch(state);
        for task in running {
            task.reply.keep(Err(JobError::WorkerLost { signal }));
        }
        for task in refused {
            task.reply.keep(Err(JobError::rejected(format!(
                "workers end before they take a task ({how}); see what they write to stderr"
            ))));
        }
        self.ended.notify_all();
    }

    /// Accepts nothing more.
    pub(super) fn close(self: &Arc<Self>) {
        let mut state = self.lock();
        state.closed = true;
        self.dispatch(state);
    }

    /// Accepts nothing more, cancels what waits, and kills every worker.
    pub(super) fn kill(self: &Arc<Self>) {
        let mut state = self.lock();
        state.closed = true;
        state.killed = true;
        state.hands.iter_mut().for_each(Hand::kill);
        self.dispatch(state);
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
