//! The record that a task ends with: it is sent together with the task's result.

use std::cell::Cell;

use fleche_core::CallKey;

thread_local! {
    static LAST: Cell<Option<CallKey>> = const { Cell::new(None) };
}

/// The task of a call on this thread, until this is dropped.
pub(super) struct Task(());

impl Task {
    /// Notes that a task of this call begins on this thread.
    pub(super) fn of(key: CallKey) -> Self {
        LAST.set(Some(key));
        Self(())
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        LAST.set(None);
    }
}

/// Returns whether the record of this call is the last one that this thread's task writes.
pub(super) fn is(key: &CallKey) -> bool {
    LAST.get().is_some_and(|last| last == *key)
}
