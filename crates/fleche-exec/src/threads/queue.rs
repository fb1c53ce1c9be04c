//! The queue of a thread pool: accepted tasks, in order, until it is closed; and how many threads there are for them.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    thread::JoinHandle,
    time::Duration,
};

use fleche_core::{
    JobError, Task,
    waiting::{Awaited, Sought},
};

use super::{
    lane,
    line::{Entry, Line},
    pauses::Pauses,
};
use crate::budget::{Account, Budget, Demand, Grant};

/// Tasks on their way to the threads. None overtakes another, so that one that asks for much is never passed over;
/// except that one which a thread of the pool waits for goes before the others, and may start at once.
pub(super) struct Queue {
    state: Mutex<State>,
    /// There is a task that can run, or none will come.
    changed: Condvar,
    /// How many threads run tasks at once.
    size: usize,
}

struct State {
    line: Line,
    free: Account,
    /// How many threads there are, in all; how many wait for a task; how many run one.
    alive: usize,
    idle: usize,
    running: usize,
    /// Those that wait amid a task.
    pauses: Pauses,
    closed: bool,
    /// Until somebody waits for them.
    threads: Vec<JoinHandle<()>>,
}

/// So many threads may stand in for others that wait.
const SPARE: usize = 1024;
/// A thread above the pool's size that was not needed for so long ends.
const KEPT: Duration = Duration::from_secs(2);

impl Queue {
    /// Empty, for this many threads, with all of this free.
    pub(super) fn new(size: usize, budget: &Budget) -> Arc<Self> {
        Arc::new_cyclic(|queue: &Weak<Self>| {
            let pool = queue.as_ptr().addr();
            let state = State {
                line: Line::new(pool),
                free: Account::new(budget),
                alive: 0,
                idle: 0,
                running: 0,
                pauses: Pauses::new(pool),
                closed: false,
                threads: Vec::new(),
            };
            Self { state: Mutex::new(state), changed: Condvar::new(), size }
        })
    }

    /// Starts one of the pool's threads.
    pub(super) fn start(self: &Arc<Self>) -> io::Result<()> {
        self.start_with(&mut self.lock())
    }

    fn start_with(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        let thread = lane::start(state.alive, self)?;
        state.alive += 1;
        state.threads.retain(|thread| !thread.is_finished());
        state.threads.push(thread);
        Ok(())
    }

    /// Accepts the task; gives it back if the queue is closed.
    #[allow(clippy::result_large_err)] // The task itself, which would be moved anyway.
    pub(super) fn push(self: &Arc<Self>, task: Task, demand: Demand) -> Result<(), Task> {
        let mut state = self.lock();
        if state.closed {
            return Err(task);
        }
        state.line.push(task, demand);
        self.settle(state);
        Ok(())
    }

    /// Waits until the next task can run, after taking back what the last one had; `None` where the thread is to end.
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
            if state.closed && state.line.is_empty() {
                state.alive -= 1;
                return None;
            }
            if let Some((entry, why)) = state.take_hopeless() {
                // What others do about it may wait, as in a task.
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
                let waited = self.changed.wait_timeout(state, KEPT).unwrap_or_else(PoisonError::into_inner);
                (waited.0, waited.1.timed_out())
            } else {
                (self.changed.wait(state).unwrap_or_else(PoisonError::into_inner), false)
            };
            state.idle -= 1;
            if timed_out && state.alive > self.wanted(&state) && !self.is_ready(&state) {
                state.alive -= 1;
                return None;
            }
        }
        let Entry { task, demand, .. } = state.line.pop()?;
        let grant = if state.free.has(demand) { state.free.take(demand) } else { Grant::default() };
        state.running += 1;
        self.settle(state);
        Some((task, grant))
    }

    /// Whether the first task can be taken. One that was cancelled takes nothing.
    fn is_ready(&self, state: &State) -> bool {
        let first_fits = |first: &Entry| state.free.has(first.demand) || first.task.is_cancelled();
        state.running < self.size && state.line.first().is_some_and(first_fits)
    }

    /// Hears of it when the first task is cancelled, if that alone is what others behind it may wait for.
    fn watch_first(self: &Arc<Self>, state: &mut State) {
        if state.running >= self.size {
            return;
        }
        let State { line, free, .. } = state;
        if let Some(first) = line.first_mut().filter(|first| !first.watched && !free.has(first.demand)) {
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

    /// How many threads there should be.
    fn wanted(&self, state: &State) -> usize {
        self.size + state.pauses.len().min(SPARE)
    }

    /// After a change: wakes whoever has something to do now, and ends what could wait for ever. Waking nobody would
    /// still be a system call.
    fn settle<'a>(self: &'a Arc<Self>, mut state: MutexGuard<'a, State>) {
        loop {
            self.watch_first(&mut state);
            let over = state.closed && state.line.is_empty();
            let wake = state.idle > 0 && (over || self.is_ready(&state));
            let hopeless = state.take_hopeless();
            // Until who waits for it has heard, nothing else is hopeless: what he has may come free.
            state.running += usize::from(hopeless.is_some());
            drop(state);
            if wake && over {
                self.changed.notify_all();
            } else if wake {
                self.changed.notify_one();
            }
            let Some((entry, why)) = hopeless else { return };
            // Outside the lock, since this runs code of others.
            entry.task.fail(why);
            state = self.lock();
            state.running -= 1;
        }
    }

    /// A thread begins to wait amid a task that has so many cores.
    pub(super) fn pause(self: &Arc<Self>, lane: usize, cores: usize, awaited: Option<Arc<dyn Awaited>>) {
        let mut state = self.lock();
        state.running -= 1;
        state.pauses.add(lane, awaited);
        state.free.give_back_cores(cores);
        if state.alive < self.wanted(&state) {
            // Where none starts, those there are have to do.
            if let Err(error) = self.start_with(&mut state) {
                fleche_core::log::warn!(%error, "no thread starts in place of one that waits");
            }
        }
        self.settle(state);
    }

    /// The thread goes on. For a while, there may be more that run than the pool's size.
    pub(super) fn resume(&self, lane: usize, cores: usize) {
        let mut state = self.lock();
        state.running += 1;
        state.pauses.remove(lane);
        state.free.take_cores(cores);
    }

    /// Lets the task of this job be the first.
    pub(super) fn prefer(self: &Arc<Self>, job: Sought<'_>) {
        let mut state = self.lock();
        if let Some(at) = state.line.find(job) {
            state.line.prefer(at);
            self.settle(state);
        }
    }

    /// Takes the task of this job out, to be run amid the task of who asks, whose cores are free meanwhile. Nothing where
    /// it is not here, or takes what is not free: then it is the first.
    pub(super) fn hasten(self: &Arc<Self>, job: Sought<'_>, cores: usize) -> Option<(Task, Grant)> {
        let mut state = self.lock();
        let at = state.line.find(job)?;
        if !state.line.demand(at).is_some_and(|demand| state.free.has_all_but_cores(demand)) {
            state.line.prefer(at);
            self.settle(state);
            return None;
        }
        let Entry { task, demand, .. } = state.line.take(at)?;
        let grant = state.free.take(demand);
        state.free.give_back_cores(cores);
        self.settle(state);
        Some((task, grant))
    }

    /// Takes back what a task had that ran amid another, which has so many cores again.
    pub(super) fn give_back(self: &Arc<Self>, mut grant: Grant, cores: usize) {
        let mut state = self.lock();
        state.free.give_back(&mut grant);
        state.free.take_cores(cores);
        self.settle(state);
    }

    /// Cancels what has not started: how many tasks.
    pub(super) fn cancel_all(self: &Arc<Self>) -> usize {
        let mut state = self.lock();
        let tasks = state.line.take_all();
        // Threads that were to run them may have nothing more to do.
        self.settle(state);
        let count = tasks.len();
        // Outside the lock, since this runs code of others.
        for task in tasks {
            task.fail(JobError::Cancelled);
        }
        count
    }

    /// Accepts nothing more. What was accepted is still handed out.
    pub(super) fn close(self: &Arc<Self>) {
        let mut state = self.lock();
        state.closed = true;
        self.settle(state);
    }

    /// A thread that was not waited for.
    pub(super) fn take_thread(&self) -> Option<JoinHandle<()>> {
        self.lock().threads.pop()
    }

    /// How many tasks wait.
    pub(super) fn len(&self) -> usize {
        self.lock().line.len()
    }

    /// No code of others runs under the lock, so it is never left half changed.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The first task, if all tasks of the pool that run wait for tasks of the pool, this one among them, and it can never
    /// start.
    fn take_hopeless(&mut self) -> Option<(Entry, JobError)> {
        let first = self.line.first().filter(|first| first.awaited && self.running == 0)?;
        let fits = self.free.has(first.demand);
        let has_thread = self.alive > self.pauses.len();
        if fits && has_thread || first.task.is_cancelled() || !self.pauses.are_endless() {
            return None;
        }
        let why = if fits {
            let waiting = self.pauses.len();
            format!(
                "{waiting} threads of the pool wait for its tasks, each of which waits for another, and there is no \
                 thread more; let fewer tasks wait for one another"
            )
        } else {
            "the task asks for more memory or GPUs than are free, and those that have them wait for it; let tasks that \
             wait ask for less, or make the pool with a larger budget"
                .to_owned()
        };
        Some((self.line.pop()?, JobError::rejected(why)))
    }
}

#[cfg(unix)]
impl crate::interrupt::Cancel for Queue {
    fn cancel(self: Arc<Self>) -> usize {
        self.cancel_all()
    }
}
