//! The scheduler of a process pool: it dispatches tasks under a credit, so that unstarted tasks can move to other
//! workers.

mod deadlines;
mod recalls;
mod stand_ins;
mod worker_events;

use std::{
    collections::{HashMap, VecDeque},
    mem,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
};

use bytes::Bytes;
use fleche_core::{
    JobError, config,
    job::{CancelHook, blocking_hooks},
};

use super::{
    CLOSED, ProcessPoolStats,
    codec::Wire,
    launch,
    queued_task::{Env, Waiting},
    request_pool::RequestPool,
    worker_handle::{self, WorkerHandle},
};
use crate::{
    budget::{Budget, ResourceTracker},
    interrupt::Cancel,
};
use deadlines::Deadlines;
use stand_ins::StandIns;

/// The tasks and workers of a pool.
pub(super) struct Scheduler {
    state: Mutex<State>,
    /// Notified when a worker has ended, or a job whose end was left to another thread.
    ended: Condvar,
    /// Notified when the next deadline has changed.
    due: Condvar,
    /// Notified when a revoked task has come back, or will not.
    recalled: Condvar,
    limit: usize,
    /// The number of tasks that a worker may run in all.
    pub(super) replace_after: Option<u64>,
    /// The working directory of the workers: the one in which the pool was created, if that is known.
    pub(super) directory: Option<PathBuf>,
    pub(super) wire: Wire,
    pub(super) servers: Arc<RequestPool>,
    /// A reference to this schedule, for jobs.
    holder: Weak<dyn CancelHook>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    /// Tasks that were revoked, until their jobs are cancelled.
    recalled: Vec<Waiting>,
    hands: Vec<WorkerHandle>,
    free: ResourceTracker,
    deadlines: Deadlines,
    stand_ins: StandIns,
    /// The number of jobs that are being ended on other threads.
    ending: usize,
    closed: bool,
    killed: bool,
    next: u64,
    /// The number of consecutive workers with each environment that ended before they could take a task.
    failed_starts: HashMap<Env, usize>,
    stats: ProcessPoolStats,
}

impl State {
    /// Removes the tasks that wait for a worker with these environment variables.
    fn take_waiting(&mut self, env: &Env) -> VecDeque<Waiting> {
        let (taken, rest) = mem::take(&mut self.waiting).into_iter().partition(|task| task.wants.env == *env);
        self.waiting = rest;
        taken
    }
}

/// Jobs to be ended after the lock is released, since that runs user code.
#[derive(Default)]
struct Ended(Vec<(Waiting, JobError)>);

impl Ended {
    fn add(&mut self, tasks: impl IntoIterator<Item = Waiting>, why: &JobError) {
        self.0.extend(tasks.into_iter().map(|task| (task, why.clone())));
    }

    fn tell(self, schedule: &Arc<Scheduler>) {
        for (task, why) in self.0 {
            schedule.end(task, Err(why));
        }
    }
}

impl Scheduler {
    pub(super) fn new(limit: usize, replace_after: Option<u64>, budget: &Budget) -> Arc<Self> {
        Arc::new_cyclic(|holder: &Weak<Self>| Self {
            state: Mutex::new(State { free: ResourceTracker::new(budget), ..State::default() }),
            ended: Condvar::new(),
            due: Condvar::new(),
            recalled: Condvar::new(),
            limit,
            replace_after,
            directory: config::directory().ok(),
            wire: Wire::default(),
            servers: Arc::default(),
            holder: holder.clone() as _,
        })
    }

    /// Locks the state. No user code runs under the lock, so a poisoned state is consistent.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stats(&self) -> ProcessPoolStats {
        self.lock().stats
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Accepts a task, and dispatches it if a worker has room for it.
    pub(super) fn accept(self: &Arc<Self>, task: Waiting) {
        let mut state = self.lock();
        if state.closed {
            drop(state);
            return task.reply.keep(Err(JobError::rejected(CLOSED)));
        }
        state.stats.received += 1;
        task.reply.on_cancel(self.holder.clone());
        state.waiting.push_back(task);
        self.dispatch(state, Ended::default());
    }

    /// Dispatches as many tasks as possible, in order, and ends workers that are no longer needed. Then ends these
    /// jobs.
    fn dispatch(self: &Arc<Self>, mut state: MutexGuard<'_, State>, mut ended: Ended) {
        if state.killed {
            ended.add(mem::take(&mut state.waiting), &JobError::Cancelled);
        }
        self.note_stalled_queue(&mut state);
        loop {
            match self.give_first(&mut state, &mut ended) {
                Ok(true) => {}
                // No worker is busy or ending, so no later event would try again.
                Err(why) if !state.hands.iter().any(|hand| hand.is_busy() || hand.is_ending()) => {
                    let env = state.waiting.front().and_then(|task| task.wants.env.clone());
                    ended.add(state.take_waiting(&env), &JobError::rejected(why));
                }
                Ok(false) | Err(_) => break,
            }
        }
        for hand in state.hands.iter_mut().filter(|hand| hand.is_spent()) {
            hand.end();
        }
        self.review_stand_ins(&mut state);
        if state.waiting.is_empty() {
            if state.hands.iter().any(WorkerHandle::is_idle) {
                state.hands.iter_mut().for_each(WorkerHandle::revoke);
            }
            if state.closed && !state.hands.iter().any(WorkerHandle::is_busy) {
                state.hands.iter_mut().for_each(WorkerHandle::end);
            }
        }
        drop(state);
        ended.tell(self);
    }

    /// Dispatches the first task: to an idle worker, else to a new one, if the resources that it asks for are free;
    /// else to a worker with short tasks of the same demand. Removes the task instead if it was cancelled. Returns
    /// whether it was dispatched or removed.
    ///
    /// # Errors
    /// Fails with a message if no worker can be started.
    fn give_first(self: &Arc<Self>, state: &mut State, ended: &mut Ended) -> Result<bool, String> {
        let Some(task) = state.waiting.front() else { return Ok(false) };
        if task.reply.is_cancelled() {
            ended.add(state.waiting.pop_front(), &JobError::Cancelled);
            return Ok(true);
        }
        let demand = task.wants.demand;
        let idle = if state.free.has(demand) { self.idle(state)? } else { None };
        let Some(at) = idle.or_else(|| behind_others(state)) else { return Ok(false) };
        let Some(task) = state.waiting.pop_front() else { return Ok(false) };
        // From here on, the task must come back before it can be cancelled. It may just have been cancelled.
        if !task.reply.give() {
            ended.add([task], &JobError::Cancelled);
            return Ok(true);
        }
        let grant = idle.map(|_| state.free.take(demand));
        state.next += 1;
        let number = state.next;
        state.hands[at].give(number, task, grant);
        Ok(true)
    }

    /// Returns the index of an idle worker with the environment of the first task, if there is one. Starts one if the
    /// pool has room.
    fn idle(self: &Arc<Self>, state: &mut State) -> Result<Option<usize>, String> {
        let Some(env) = state.waiting.front().map(|task| task.wants.env.clone()) else { return Ok(None) };
        // There may be more idle workers than may run at the same time.
        if state.hands.iter().filter(|hand| hand.is_running()).count() >= self.limit {
            return Ok(None);
        }
        if let Some(at) = state.hands.iter().position(|hand| hand.is_idle() && hand.has(&env)) {
            return Ok(Some(at));
        }
        if state.hands.len() < self.room(state) {
            state.next += 1;
            let hand = launch::start(state.next, self, env).map_err(|error| error.to_string())?;
            state.hands.push(hand);
            state.stats.workers += 1;
            return Ok(Some(state.hands.len() - 1));
        }
        // Makes room for another worker. When this one is gone, the task is tried again.
        if let Some(other) = state.hands.iter_mut().find(|hand| hand.is_idle()) {
            other.end();
        }
        Ok(None)
    }

    /// Closes the pool for new tasks.
    pub(super) fn close(self: &Arc<Self>) {
        let mut state = self.lock();
        state.closed = true;
        self.dispatch(state, Ended::default());
    }

    /// Closes the pool, cancels queued tasks, and kills all workers.
    pub(super) fn kill(self: &Arc<Self>) {
        let mut state = self.lock();
        state.closed = true;
        state.killed = true;
        state.hands.iter_mut().for_each(WorkerHandle::kill);
        self.dispatch(state, Ended::default());
    }

    /// Cancels the tasks that no worker has started, and returns their number.
    pub(super) fn cancel_waiting(self: &Arc<Self>) -> usize {
        let mut state = self.lock();
        let mut ended = Ended::default();
        ended.add(mem::take(&mut state.waiting), &JobError::Cancelled);
        let count = ended.0.len() + state.hands.iter_mut().map(WorkerHandle::cancel_waiting).sum::<usize>();
        self.dispatch(state, ended);
        count
    }

    /// Ends a task's job. On a thread of the pool, an end that may take a long time is left to another thread, because
    /// callbacks of the job may wait for the pool itself.
    fn end(self: &Arc<Self>, task: Waiting, outcome: Result<Bytes, JobError>) {
        if !worker_handle::is_own_thread() {
            return task.end(outcome);
        }
        if let Err((task, outcome)) = task.try_end_inline(outcome) {
            self.lock().ending += 1;
            let ending = Ending(self.clone());
            self.servers.serve(Box::new(move || {
                let _ending = ending;
                task.end(outcome);
            }));
        }
    }

    /// Waits until all workers have ended. Returns at once on a thread of the pool, which workers need in order to end.
    pub(super) fn wait(&self) {
        if worker_handle::is_own_thread() {
            return;
        }
        let working = |state: &mut State| {
            let idle = state.hands.is_empty() && state.waiting.is_empty() && state.recalled.is_empty();
            !(idle && state.ending == 0)
        };
        if !working(&mut self.lock()) {
            return;
        }
        blocking_hooks::blocking(|| drop(self.ended.wait_while(self.lock(), working)));
    }
}

/// Counts a job as being ended until this is dropped.
struct Ending(Arc<Scheduler>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.lock().ending -= 1;
        self.0.ended.notify_all();
    }
}

impl Cancel for Scheduler {
    fn cancel(self: Arc<Self>) -> usize {
        self.cancel_waiting()
    }
}

/// Returns the index of a busy worker with room for the first task, if there is one: its tasks are short and have the
/// same demand.
fn behind_others(state: &State) -> Option<usize> {
    let task = state.waiting.front()?;
    let with_room = (0..state.hands.len()).filter(|at| state.hands[*at].has_room(task));
    with_room.min_by_key(|at| state.hands[*at].dispatched())
}
