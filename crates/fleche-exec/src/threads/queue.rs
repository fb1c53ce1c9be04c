//! The queue of a thread pool: accepted tasks, in order, until it is closed.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use fleche_core::Task;

use crate::budget::{Budget, Demand, Grant};

/// Tasks on their way to the threads. None overtakes another, so that one that asks for much is never passed over.
pub(super) struct Queue {
    state: Mutex<State>,
    /// There is a task that can run, or none will come.
    changed: Condvar,
}

struct State {
    tasks: VecDeque<(Task, Demand)>,
    free: Budget,
    /// How many threads wait for a task.
    idle: usize,
    closed: bool,
}

impl State {
    /// Whether the first task can be taken. One that was cancelled takes nothing.
    fn is_ready(&self) -> bool {
        self.tasks.front().is_some_and(|(task, demand)| self.free.has(*demand) || task.is_cancelled())
    }
}

impl Queue {
    /// Empty, with all of this free.
    pub(super) fn new(free: Budget) -> Self {
        let state = State { tasks: VecDeque::new(), free, idle: 0, closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Accepts the task; gives it back if the queue is closed.
    #[allow(clippy::result_large_err)] // The task itself, which would be moved anyway.
    pub(super) fn push(&self, task: Task, demand: Demand) -> Result<(), Task> {
        let mut state = self.lock();
        if state.closed {
            return Err(task);
        }
        state.tasks.push_back((task, demand));
        self.wake_another(state);
        Ok(())
    }

    /// Takes back what the last task had, and waits until the next can run; `None` once the queue is closed and empty.
    pub(super) fn pop(&self, had: &mut Grant) -> Option<(Task, Grant)> {
        let mut state = self.lock();
        state.free.give_back(had);
        while !state.is_ready() {
            if state.closed && state.tasks.is_empty() {
                return None;
            }
            state.idle += 1;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
        let (task, demand) = state.tasks.pop_front()?;
        let grant = if state.free.has(demand) { state.free.take(demand) } else { Grant::default() };
        if state.closed && state.tasks.is_empty() {
            // Those that wait for tasks that were too large until now have nothing to wait for.
            self.changed.notify_all();
        }
        self.wake_another(state);
        Some((task, grant))
    }

    /// Wakes a thread if there is work for it: waking nobody would still be a system call.
    fn wake_another(&self, state: MutexGuard<'_, State>) {
        let wake = state.idle > 0 && state.is_ready();
        drop(state);
        if wake {
            self.changed.notify_one();
        }
    }

    /// Accepts nothing more. What was accepted is still handed out.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// How many tasks wait.
    pub(super) fn len(&self) -> usize {
        self.lock().tasks.len()
    }

    /// No code of others runs under the lock, so it is never left half changed.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
