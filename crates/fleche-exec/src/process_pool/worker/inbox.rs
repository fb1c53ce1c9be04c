//! The tasks that have arrived at a worker and have not started.

use std::{
    collections::VecDeque,
    mem,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use crate::process_pool::frame::Frame;

/// The tasks in order. The thread that removes a task starts it.
#[derive(Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    tasks: VecDeque<Frame>,
    closed: bool,
}

impl Inbox {
    pub(super) fn put(&self, task: Frame) {
        self.lock().tasks.push_back(task);
        self.changed.notify_one();
    }

    /// Returns the next task, or `None` if there is none yet.
    pub(super) fn poll(&self) -> Option<Frame> {
        self.lock().tasks.pop_front()
    }

    /// Waits for the next task. Returns `None` if no more tasks will arrive.
    pub(super) fn wait(&self) -> Option<Frame> {
        let nothing_yet = |state: &mut State| state.tasks.is_empty() && !state.closed;
        let waited = self.changed.wait_while(self.lock(), nothing_yet);
        waited.unwrap_or_else(PoisonError::into_inner).tasks.pop_front()
    }

    /// Removes the task of this number, or all tasks (0), unless they have started. Returns the numbers of removed
    /// tasks.
    pub(super) fn revoke(&self, asked: u64) -> Vec<u64> {
        let mut state = self.lock();
        let (back, rest): (VecDeque<_>, _) =
            mem::take(&mut state.tasks).into_iter().partition(|task| asked == 0 || task.number == asked);
        state.tasks = rest;
        drop(state);
        back.into_iter().map(|task| task.number).collect()
    }

    /// Notes that no more tasks will arrive.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
