//! The tasks that have come to a worker and not started.

use std::{
    collections::VecDeque,
    mem,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use crate::processes::frame::Frame;

/// Tasks in order; whoever takes one out starts it.
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

    /// The next task, if it is here.
    pub(super) fn poll(&self) -> Option<Frame> {
        self.lock().tasks.pop_front()
    }

    /// Waits for the next task; `None` where none will come.
    pub(super) fn wait(&self) -> Option<Frame> {
        let nothing_yet = |state: &mut State| state.tasks.is_empty() && !state.closed;
        let waited = self.changed.wait_while(self.lock(), nothing_yet);
        waited.unwrap_or_else(PoisonError::into_inner).tasks.pop_front()
    }

    /// Gives up the task of this number, or all (0), if they have not started: the tasks' numbers.
    pub(super) fn take_back(&self, asked: u64) -> Vec<u64> {
        let mut state = self.lock();
        let (back, rest): (VecDeque<_>, _) =
            mem::take(&mut state.tasks).into_iter().partition(|task| asked == 0 || task.number == asked);
        state.tasks = rest;
        drop(state);
        back.into_iter().map(|task| task.number).collect()
    }

    /// Nothing more will come.
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
