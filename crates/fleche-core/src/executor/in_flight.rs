//! Submissions of one missing call while it is on its way: they share one task.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use super::Task;
use crate::call::CallKey;

/// A call of one cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Flight {
    /// The address of its store of records.
    pub(super) cache: usize,
    pub(super) key: CallKey,
}

/// The tasks that end with another one of the same call; `None` once it has ended.
#[derive(Debug)]
pub(super) struct Followers(Mutex<Option<Vec<Task>>>);

impl Followers {
    #[allow(clippy::result_large_err)] // The task itself, which would be moved anyway.
    fn join(&self, task: Task) -> Result<(), Task> {
        match &mut *self.lock() {
            Some(tasks) => {
                tasks.push(task);
                Ok(())
            }
            None => Err(task),
        }
    }

    /// The call has ended: who comes from here on does not follow any more.
    pub(super) fn land(&self) -> Vec<Task> {
        self.lock().take().unwrap_or_default()
    }

    /// Whether nobody waits for what follows, for a call that was cancelled: nobody joins from then on.
    pub(super) fn are_gone(&self) -> bool {
        let mut tasks = self.lock();
        let gone = tasks.iter().flatten().all(Task::is_cancelled);
        if gone {
            *tasks = None;
        }
        gone
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<Task>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// Lets the task follow one of the same call, or makes it one that others follow; then it is given back.
    pub(super) fn board(&self, mut task: Task) -> Option<Task> {
        let Some(flight) = task.flight() else { return Some(task) };
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(leader) = table.leaders.get(&flight).and_then(Weak::upgrade) {
            match leader.join(task) {
                Ok(()) => return None,
                Err(back) => task = back,
            }
        }
        if table.leaders.len() >= table.limit {
            table.leaders.retain(|_, leader| leader.strong_count() > 0);
            table.limit = 64 + 2 * table.leaders.len();
        }
        let followers = Arc::new(Followers(Mutex::new(Some(Vec::new()))));
        table.leaders.insert(flight, Arc::downgrade(&followers));
        task.lead(followers);
        Some(task)
    }
}
