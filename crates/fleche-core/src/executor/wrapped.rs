//! `wrap_executor`: binds submitted callables and answers hits without the executor.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, Weak},
};

use super::{
    Executor, ExecutorConfig, Resources, SubmitError, Task,
    task::{CoalescedTasks, SharedTask},
};
use crate::{context::Binding, runtime::lock::LockResultExt, store::Reach};

/// An executor wrapper that answers hits itself; see [`wrap_executor`].
#[derive(Clone, Debug)]
pub struct Wrapped<E> {
    executor: E,
    in_flight: Arc<InFlight>,
}

/// Wraps an executor so that hits never reach it, and other calls carry the submitter's cache and metadata:
///
/// - If the call of a memoized function is a hit, its job is done at once.
/// - A miss, and any other function or closure, is bound to the active context of the submitting thread.
/// - Submissions of a missing call while an earlier one with the same [`Resources`] is in flight share its task. They
///   get the recorded result. If the task ran in another process and recorded nothing, they get its outcome; in this
///   process, they run one after another in that case. A submission with different resources is a task of its own: the
///   executor accepts or refuses it, and when it runs, it waits for the result of the other.
/// - What is already bound keeps its binding.
///
/// Arguments are [checked](macro@crate::fleche#what-must-hold) for parts that their encoding loses, such as a field with
/// `#[serde(skip)]` that `==` compares: on hits 1, 2, 4, 8, … of a function, and on as many submissions that leave the
/// process. Parameters that borrow have a type that cannot be named here. Calls of functions with such parameters, or with
/// lifetime parameters, are checked when they are bound (`bind`), and not if they are submitted unbound, as with a
/// `Cow<'static, str>`.
///
/// An instance of a generic function is known only after its first call in the process; until then, the executor
/// answers hits for it.
///
/// Wrapping an executor twice has no further effect.
pub fn wrap_executor<E: Executor>(executor: E) -> Wrapped<E> {
    Wrapped { executor, in_flight: Arc::default() }
}

impl<E> Wrapped<E> {
    /// Returns the wrapped executor.
    pub fn inner(&self) -> &E {
        &self.executor
    }

    /// Returns the wrapped executor without the wrapper.
    pub fn into_inner(self) -> E {
        self.executor
    }
}

/// A wrapped executor that is not kept open.
pub(super) struct WeakWrapped {
    executor: Weak<dyn Executor>,
    in_flight: Arc<InFlight>,
}

impl Wrapped<Arc<dyn Executor>> {
    pub(super) fn downgrade(&self) -> WeakWrapped {
        WeakWrapped { executor: Arc::downgrade(&self.executor), in_flight: self.in_flight.clone() }
    }
}

impl WeakWrapped {
    pub(super) fn is_open(&self) -> bool {
        self.executor.strong_count() > 0
    }

    /// Returns the executor, or `None` if it is closed.
    pub(super) fn upgrade(&self) -> Option<Wrapped<Arc<dyn Executor>>> {
        Some(Wrapped { executor: self.executor.upgrade()?, in_flight: self.in_flight.clone() })
    }
}

impl<E: Executor> Executor for Wrapped<E> {
    fn submit_task(&self, mut task: Task) -> Result<(), SubmitError> {
        task.bind(Binding::current);
        let Err(task) = task.answer() else { return Ok(()) };
        let Some(task) = self.in_flight.join_call(task, None) else { return Ok(()) };
        self.executor.submit_task(task)
    }

    /// Hits need no resources, so they are never refused.
    fn submit_with(&self, mut task: Task, resources: &Resources) -> Result<(), SubmitError> {
        task.bind(Binding::current);
        let Err(task) = task.answer() else { return Ok(()) };
        let asks = resources.names().next().map(|_| resources);
        let Some(task) = self.in_flight.join_call(task, asks) else { return Ok(()) };
        self.executor.submit_with(task, resources)
    }

    fn config(&self) -> Box<dyn ExecutorConfig> {
        self.executor.config()
    }

    fn reach(&self) -> Reach {
        self.executor.reach()
    }

    fn look_ahead(&self) -> usize {
        self.executor.look_ahead()
    }
}

/// The calls in flight through one executor. Held weakly, because a task that is gone leads none.
#[derive(Debug, Default)]
struct InFlight(Mutex<Leaders>);

#[derive(Debug, Default)]
struct Leaders {
    leaders: HashMap<SharedTask, Weak<CoalescedTasks>>,
    /// The table's size above which ended calls are removed.
    limit: usize,
}

impl InFlight {
    /// Adds the task to the followers of a task with the same call and resources, if there is one. Otherwise returns
    /// the task, to be submitted; later tasks may follow it.
    fn join_call(&self, mut task: Task, asks: Option<&Resources>) -> Option<Task> {
        let Some(flight) = task.shared_task(asks) else { return Some(task) };
        // Dropped after the lock is released, because this may be the last reference to the followers.
        let leader;
        let mut table = self.0.lock().ignore_poison();
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
