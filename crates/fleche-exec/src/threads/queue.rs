//! The queue of a thread pool: accepted tasks, in order, until it is closed.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use fleche_core::Task;

/// Tasks on their way to the threads.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// There is a task, or none will come.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    tasks: VecDeque<Task>,
    closed: bool,
}

impl Queue {
    /// Accepts the task; gives it back if the queue is closed.
    #[allow(clippy::result_large_err)] // The task itself, which would be moved anyway.
    pub(super) fn push(&self, task: Task) -> Result<(), Task> {
        let mut state = self.lock();
        if state.closed {
            return Err(task);
        }
        state.tasks.push_back(task);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for a task; `None` once the queue is closed and empty.
    pub(super) fn pop(&self) -> Option<Task> {
        let nothing_yet = |state: &mut State| state.tasks.is_empty() && !state.closed;
        let waited = self.changed.wait_while(self.lock(), nothing_yet);
        waited.unwrap_or_else(PoisonError::into_inner).tasks.pop_front()
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
