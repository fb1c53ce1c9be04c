//! Submissions of one missing call while it is on its way: they share one task.

use std::{
    collections::HashMap,
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use super::{Resources, Task};
use crate::{
    call::CallKey,
    waiting::{JobId, Mark},
};

/// A call of one cache, with what it asks of the executor: where that is not the same, it may end otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Flight {
    /// The address of its store of records.
    pub(super) cache: usize,
    pub(super) key: CallKey,
    /// `None` for nothing.
    pub(super) asks: Option<Resources>,
}

/// The tasks that end with another one of the same call.
#[derive(Default)]
pub(super) struct Followers {
    state: Mutex<State>,
    /// Where a pool keeps the task that they follow.
    mark: Arc<Mark>,
}

#[derive(Default)]
struct State {
    /// Those of a call that was given up stay, so that they are not dropped under anybody's lock.
    tasks: Vec<Task>,
    /// The call has ended, or was given up: nobody joins any more.
    closed: bool,
    /// Told when the job of one is done.
    tell: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl Followers {
    /// Nobody follows yet.
    pub(super) fn none() -> Arc<Self> {
        Arc::default()
    }

    #[allow(clippy::result_large_err)] // The task itself, which would be moved anyway.
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

    /// The call has ended: who comes from here on does not follow any more.
    pub(super) fn land(&self) -> Vec<Task> {
        let mut state = self.lock();
        state.closed = true;
        mem::take(&mut state.tasks)
    }

    /// As [`land`](Self::land), if there are none. Whether that is so.
    pub(super) fn land_if_none(&self) -> bool {
        let mut state = self.lock();
        state.closed |= state.tasks.is_empty();
        state.tasks.is_empty()
    }

    /// Whether nobody waits for what follows, for a call that was cancelled: nobody joins from then on.
    pub(super) fn are_gone(&self) -> bool {
        let mut state = self.lock();
        state.closed |= state.tasks.iter().all(Task::is_cancelled);
        state.closed
    }

    /// Whether one of them completes this job.
    pub(super) fn complete(&self, job: JobId) -> bool {
        self.lock().tasks.iter().any(|task| task.completes(job))
    }

    /// As [`Task::watch`], for all of them.
    pub(super) fn watch(&self, tell: &Arc<dyn Fn() + Send + Sync>) {
        let mut state = self.lock();
        state.tasks.iter().for_each(|task| task.watch(tell));
        state.tell = Some(tell.clone());
    }

    pub(super) fn mark(&self) -> &Mark {
        &self.mark
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Followers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Followers").finish_non_exhaustive()
    }
}

/// The calls on their way through one executor. Held weakly: a task that is gone leads nobody.
#[derive(Debug, Default)]
pub(super) struct InFlight(Mutex<Leaders>);

#[derive(Debug, Default)]
struct Leaders {
    leaders: HashMap<Flight, Weak<Followers>>,
    /// Above this many, those that have ended are cleared away.
    limit: usize,
}

impl InFlight {
    /// Lets the task follow one of the same call that asks for the same, or makes it one that others follow; then it is
    /// given back.
    pub(super) fn board(&self, mut task: Task, asks: Option<&Resources>) -> Option<Task> {
        let Some(flight) = task.flight(asks) else { return Some(task) };
        // Let go of after the lock: it may be the last to hold what follows.
        let leader;
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        leader = table.leaders.get(&flight).and_then(Weak::upgrade);
        if let Some(leader) = &leader {
            // An executor that wraps itself: nothing follows itself.
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
        // Through wraps of wraps, a task leads the same followers in each.
        table.leaders.insert(flight, Arc::downgrade(task.lead()));
        Some(task)
    }
}
