//! The scheduling of a thread pool: the choice of the next task, and the number of threads.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, Weak},
    thread::JoinHandle,
    time::Duration,
};

use fleche_core::{
    JobError, Task,
    job::blocking_hooks::{Awaited, AwaitedJob},
    spi::{LockResultExt, counted},
};

use super::task_queue::{Entry, TaskQueue};
use crate::budget::{Budget, Demand, Grant, ResourceTracker};

/// The accepted tasks and the threads that run them. Tasks start in order, so that a task with a large demand is never
/// passed over. Only a task that a thread of the pool waits for goes to the front, or starts at once.
// Not `BackgroundThreads`: a thread gives back the resources of its last task and takes the next one under one lock, threads
// that wait within a task are replaced, and shutting down joins all threads.
pub(super) struct Scheduler {
    state: Mutex<State>,
    /// Notified when a task can run, or when no more tasks will arrive.
    changed: Condvar,
    /// The number of threads that run tasks at the same time.
    size: usize,
    start_worker: StartWorker,
}

/// A function that starts the worker thread with this number.
pub(super) type StartWorker = fn(usize, &Arc<Scheduler>) -> io::Result<JoinHandle<()>>;

struct State {
    queue: TaskQueue,
    free: ResourceTracker,
    /// The numbers of threads: in total, waiting for a task, and running one.
    alive: usize,
    idle: usize,
    running: usize,
    /// The threads that wait within a task.
    blocked: BlockedThreads,
    closed: bool,
    /// The threads that have not been joined.
    threads: Vec<JoinHandle<()>>,
}

/// The maximum number of threads that run tasks in the place of waiting ones.
const SPARE: usize = 1024;
/// The time after which an idle thread above the pool's size ends.
const KEPT: Duration = Duration::from_secs(2);

impl Scheduler {
    /// Creates an empty queue for this many threads, with the whole budget free.
    pub(super) fn new(size: usize, budget: &Budget, start_worker: StartWorker) -> Arc<Self> {
        Arc::new_cyclic(|queue: &Weak<Self>| {
            let pool = queue.as_ptr().addr();
            let state = State {
                queue: TaskQueue::new(pool),
                free: ResourceTracker::new(budget),
                alive: 0,
                idle: 0,
                running: 0,
                blocked: BlockedThreads::new(pool),
                closed: false,
                threads: Vec::new(),
            };
            Self { state: Mutex::new(state), changed: Condvar::new(), size, start_worker }
        })
    }

    /// Starts a thread.
    pub(super) fn start(self: &Arc<Self>) -> io::Result<()> {
        self.start_with(&mut self.lock())
    }

    fn start_with(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        let thread = (self.start_worker)(state.alive, self)?;
        state.alive += 1;
        state.threads.retain(|thread| !thread.is_finished());
        state.threads.push(thread);
        Ok(())
    }

    /// Accepts the task, or returns it if the queue is closed.
    #[allow(clippy::result_large_err)] // The error is the task, which is moved in any case.
    pub(super) fn push(self: &Arc<Self>, task: Task, demand: Demand) -> Result<(), Task> {
        let mut state = self.lock();
        if state.closed {
            return Err(task);
        }
        state.queue.push(task, demand);
        self.settle(state);
        Ok(())
    }

    /// Gives back the resources of the thread's last task and waits until the next task can run. Returns `None` if the
    /// thread is to end.
    pub(super) fn next(self: &Arc<Self>, last: Option<Grant>) -> Option<(Task, Grant)> {
        let mut state = self.lock();
        if let Some(mut grant) = last {
            state.free.give_back(&mut grant);
            state.running -= 1;
        }
        loop {
            self.watch_first(&mut state);
            if self.is_ready(&state) {
                break;
            }
            if state.closed && state.queue.is_empty() {
                state.alive -= 1;
                return None;
            }
            if let Some((entry, why)) = state.take_hopeless() {
                // Callbacks of the job may wait, as a running task may.
                state.running += 1;
                drop(state);
                entry.task.fail(why);
                state = self.lock();
                state.running -= 1;
                continue;
            }
            let surplus = state.alive > self.wanted(&state);
            state.idle += 1;
            let timed_out;
            (state, timed_out) = if surplus {
                let waited = self.changed.wait_timeout(state, KEPT).ignore_poison();
                (waited.0, waited.1.timed_out())
            } else {
                (self.changed.wait(state).ignore_poison(), false)
            };
            state.idle -= 1;
            if timed_out && state.alive > self.wanted(&state) && !self.is_ready(&state) {
                state.alive -= 1;
                return None;
            }
        }
        let Entry { task, demand, .. } = state.queue.pop()?;
        let grant = if state.free.has(demand) { state.free.take(demand) } else { Grant::default() };
        state.running += 1;
        self.settle(state);
        Some((task, grant))
    }

    /// Returns whether a thread can take the first task. A cancelled task needs no resources.
    fn is_ready(&self, state: &State) -> bool {
        let first_fits = |first: &Entry| state.free.has(first.demand) || first.task.is_cancelled();
        state.running < self.size && state.queue.first().is_some_and(first_fits)
    }

    /// Watches the first task while it waits for resources, so that the tasks behind it start if it is cancelled.
    fn watch_first(self: &Arc<Self>, state: &mut State) {
        if state.running >= self.size {
            return;
        }
        let State { queue: tasks, free, .. } = state;
        if let Some(first) = tasks.first_mut().filter(|first| !first.watched && !free.has(first.demand)) {
            first.watched = true;
            let queue = Arc::downgrade(self);
            first.task.watch(
                &(Arc::new(move || {
                    if let Some(queue) = queue.upgrade() {
                        queue.settle(queue.lock());
                    }
                }) as _),
            );
        }
    }

    /// Returns the number of threads that the pool should have.
    fn wanted(&self, state: &State) -> usize {
        self.size + state.blocked.len().min(SPARE)
    }

    /// Acts on a change: wakes threads if they have work, and fails tasks that could never start. Notifies only if a thread
    /// is idle, because each notification is a system call.
    fn settle<'a>(self: &'a Arc<Self>, mut state: MutexGuard<'a, State>) {
        loop {
            self.watch_first(&mut state);
            let over = state.closed && state.queue.is_empty();
            let wake = state.idle > 0 && (over || self.is_ready(&state));
            let hopeless = state.take_hopeless();
            // Counts as running until the waiting thread was notified: that thread may then give resources back.
            state.running += usize::from(hopeless.is_some());
            drop(state);
            if wake && over {
                self.changed.notify_all();
            } else if wake {
                self.changed.notify_one();
            }
            let Some((entry, why)) = hopeless else { return };
            // Outside the lock, since this runs callbacks of the job.
            entry.task.fail(why);
            state = self.lock();
            state.running -= 1;
        }
    }

    /// Notes that a thread begins to wait within a task that has this many cores.
    pub(super) fn pause(self: &Arc<Self>, worker: usize, cores: usize, awaited: Option<Arc<dyn Awaited>>) {
        let mut state = self.lock();
        state.running -= 1;
        state.blocked.add(worker, awaited);
        state.free.give_back_cores(cores);
        if state.alive < self.wanted(&state) {
            // If none can start, the existing threads have to suffice.
            if let Err(error) = self.start_with(&mut state) {
                fleche_core::spi::log::warn!(%error, "cannot start a thread in place of a waiting one; fewer tasks run at once");
            }
        }
        self.settle(state);
    }

    /// Notes that the thread resumes. For a while, more threads may run than the pool's size.
    pub(super) fn resume(&self, worker: usize, cores: usize) {
        let mut state = self.lock();
        state.running += 1;
        state.blocked.remove(worker);
        state.free.take_cores(cores);
    }

    /// Moves the task of this job to the front.
    pub(super) fn prioritize(self: &Arc<Self>, job: AwaitedJob<'_>) {
        let mut state = self.lock();
        if let Some(at) = state.queue.find(job) {
            state.queue.prioritize(at);
            self.settle(state);
        }
    }

    /// Removes the task of this job, to run it nested in the caller's task, and frees the cores of the caller's task.
    /// Returns `None` if the task is not in the queue. If memory or GPUs that it asks for are not free, moves it to the
    /// front instead.
    pub(super) fn run_or_prioritize(self: &Arc<Self>, job: AwaitedJob<'_>, cores: usize) -> Option<(Task, Grant)> {
        let mut state = self.lock();
        let at = state.queue.find(job)?;
        if !state.queue.demand(at).is_some_and(|demand| state.free.has_all_but_cores(demand)) {
            state.queue.prioritize(at);
            self.settle(state);
            return None;
        }
        let Entry { task, demand, .. } = state.queue.take(at)?;
        let grant = state.free.take(demand);
        state.free.give_back_cores(cores);
        self.settle(state);
        Some((task, grant))
    }

    /// Gives back the resources of a nested task, and takes the cores of the outer task again.
    pub(super) fn give_back(self: &Arc<Self>, mut grant: Grant, cores: usize) {
        let mut state = self.lock();
        state.free.give_back(&mut grant);
        state.free.take_cores(cores);
        self.settle(state);
    }

    /// Cancels the tasks that have not started, and returns their number.
    pub(super) fn cancel_all(self: &Arc<Self>) -> usize {
        let mut state = self.lock();
        let tasks = state.queue.take_all();
        // Idle threads of a closed queue can end now.
        self.settle(state);
        let count = tasks.len();
        // Outside the lock, since this runs callbacks of the jobs.
        for task in tasks {
            task.fail(JobError::Cancelled);
        }
        count
    }

    /// Closes the queue for new tasks. Accepted tasks still run.
    pub(super) fn close(self: &Arc<Self>) {
        let mut state = self.lock();
        state.closed = true;
        self.settle(state);
    }

    /// Returns a thread that has not been joined, if there is one.
    pub(super) fn take_thread(&self) -> Option<JoinHandle<()>> {
        self.lock().threads.pop()
    }

    /// Returns the number of queued tasks.
    pub(super) fn len(&self) -> usize {
        self.lock().queue.len()
    }

    /// Locks the state. No user code runs under the lock, so a poisoned state is consistent.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().ignore_poison()
    }
}

impl State {
    /// Removes the first task if it can never start: a thread of the pool waits for it, all running tasks wait for
    /// tasks of the pool, and no thread or resources can become free.
    fn take_hopeless(&mut self) -> Option<(Entry, JobError)> {
        let first = self.queue.first().filter(|first| first.awaited && self.running == 0)?;
        let fits = self.free.has(first.demand);
        let has_thread = self.alive > self.blocked.len();
        if fits && has_thread || first.task.is_cancelled() || !self.blocked.are_endless() {
            return None;
        }
        let why = if fits {
            let waiting = counted(self.blocked.len(), "thread of the pool waits", "threads of the pool wait");
            format!(
                "{waiting} for its tasks, and no further thread can start; let fewer tasks wait \
                 for one another"
            )
        } else {
            "the task asks for more memory or GPUs than are free, and the tasks that hold them wait for it; let waiting \
             tasks ask for less, or create the pool with a larger budget"
                .to_owned()
        };
        Some((self.queue.pop()?, JobError::rejected(why)))
    }
}

#[cfg(unix)]
impl crate::interrupt::Cancel for Scheduler {
    fn cancel(self: Arc<Self>) -> usize {
        self.cancel_all()
    }
}

/// The threads of a pool that wait within a task, and their waits.
struct BlockedThreads {
    /// The number that identifies the pool.
    pool: usize,
    count: usize,
    /// The waits that only tasks of the pool can end, with the numbers of their threads as keys.
    within: BTreeMap<usize, Arc<dyn Awaited>>,
}

impl BlockedThreads {
    /// Creates an empty set for the pool with this number.
    fn new(pool: usize) -> Self {
        Self { pool, count: 0, within: BTreeMap::new() }
    }

    /// Returns the number of waiting threads.
    fn len(&self) -> usize {
        self.count
    }

    fn add(&mut self, worker: usize, awaited: Option<Arc<dyn Awaited>>) {
        self.count += 1;
        if let Some(awaited) = awaited.filter(|awaited| awaited.is_of(self.pool)) {
            self.within.insert(worker, awaited);
        }
    }

    fn remove(&mut self, worker: usize) {
        self.count -= 1;
        // The waiting thread holds another reference, so no user code is dropped under the lock.
        self.within.remove(&worker);
    }

    /// Returns whether no waiting thread can resume before another task of the pool has ended.
    fn are_endless(&self) -> bool {
        self.count > 0 && self.within.len() == self.count && !self.within.values().any(|awaited| awaited.is_over())
    }
}
