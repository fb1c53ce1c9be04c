//! Coalesces concurrent submissions of the same missing call into one task.

use std::{
    collections::HashMap,
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use super::{Resources, Task};
use crate::{
    call::CallKey,
    job::blocking_hooks::{JobId, SlotCell},
};

/// A call in one cache with the requested resources. Calls with different requests are not coalesced, since their
/// outcome may differ.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Flight {
    /// The address of the cache's call store.
    pub(super) cache: usize,
    pub(super) key: CallKey,
    /// The requested resources, or `None`.
    pub(super) asks: Option<Resources>,
}

/// The tasks that are completed together with a leading task of the same call.
#[derive(Default)]
pub(super) struct CoalescedTasks {
    state: Mutex<State>,
    /// Where a pool keeps the leading task.
    mark: Arc<SlotCell>,
}

#[derive(Default)]
struct State {
    /// The followers. Those of an abandoned call stay here, so they are not dropped while a lock is held.
    tasks: Vec<Task>,
    /// Whether the call has ended or was abandoned, so that no task can join.
    closed: bool,
    /// Called when the job of a follower is done.
    tell: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl CoalescedTasks {
    /// Creates an empty list.
    pub(super) fn none() -> Arc<Self> {
        Arc::default()
    }

    #[allow(clippy::result_large_err)] // The task would be moved anyway.
    fn join(&self, task: Task) -> Result<(), Task> {
        let mut state = self.lock();
        if state.closed {
            return Err(task);
        }
        task.be_sought_by(&self.mark);
        if let Some(tell) = &state.tell {
            task.watch(tell);
        }
        state.tasks.push(task);
        Ok(())
    }

    /// Closes the list because the call has ended, and returns the followers.
    pub(super) fn land(&self) -> Vec<Task> {
        let mut state = self.lock();
        state.closed = true;
        mem::take(&mut state.tasks)
    }

    /// Closes the list if it is empty. Returns whether it is.
    pub(super) fn land_if_none(&self) -> bool {
        let mut state = self.lock();
        state.closed |= state.tasks.is_empty();
        state.tasks.is_empty()
    }

    /// Returns whether the list is closed or all followers are cancelled. In the second case, closes it. Called when
    /// the leading task's own job was cancelled.
    pub(super) fn are_gone(&self) -> bool {
        let mut state = self.lock();
        state.closed |= state.tasks.iter().all(Task::is_cancelled);
        state.closed
    }

    /// Returns whether one of the followers completes this job.
    pub(super) fn complete(&self, job: JobId) -> bool {
        self.lock().tasks.iter().any(|task| task.completes(job))
    }

    /// Does what [`Task::watch`] does, for all followers.
    pub(super) fn watch(&self, tell: &Arc<dyn Fn() + Send + Sync>) {
        let mut state = self.lock();
        state.tasks.iter().for_each(|task| task.watch(tell));
        state.tell = Some(tell.clone());
    }

    pub(super) fn mark(&self) -> &SlotCell {
        &self.mark
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for CoalescedTasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Followers").finish_non_exhaustive()
    }
}

/// The calls in flight through one executor. Held weakly, because a task that is gone leads none.
#[derive(Debug, Default)]
pub(super) struct InFlight(Mutex<Leaders>);

#[derive(Debug, Default)]
struct Leaders {
    leaders: HashMap<Flight, Weak<CoalescedTasks>>,
    /// The table's size above which ended calls are removed.
    limit: usize,
}

impl InFlight {
    /// Adds the task to the followers of a task with the same call and resources, if there is one. Otherwise returns
    /// the task, to be submitted; later tasks may follow it.
    pub(super) fn join_call(&self, mut task: Task, asks: Option<&Resources>) -> Option<Task> {
        let Some(flight) = task.flight(asks) else { return Some(task) };
        // Dropped after the lock is released, because this may be the last reference to the followers.
        let leader;
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        leader = table.leaders.get(&flight).and_then(Weak::upgrade);
        if let Some(leader) = &leader {
            // In an executor that wraps itself, a task must not follow itself.
            if task.leads(leader) {
                return Some(task);
            }
            match leader.join(task) {
                Ok(()) => return None,
                Err(back) => task = back,
            }
        }
        if table.leaders.len() >= table.limit {
            table.leaders.retain(|_, leader| leader.strong_count() > 0);
            table.limit = 64 + 2 * table.leaders.len();
        }
        // A task leads the same followers in each layer of nested wrappers.
        table.leaders.insert(flight, Arc::downgrade(task.lead()));
        Some(task)
    }
}
