//! The scheduler of a process pool: it carries out the decisions of the dispatch state, starts workers, and runs the timer.

use std::{
    mem,
    sync::{Arc, Condvar, MutexGuard, Weak},
    time::Instant,
};

use bytes::Bytes;
use fleche_core::{
    JobError,
    job::blocking_hooks,
    spi::{BackgroundThreads, CancelHook, Locked, Next, config_directory},
};
use fleche_remote::spi::RequestPool;

use super::{
    codec::CallEncoder,
    dispatch::{CLOSED, Dispatch, EndedTasks, Placement, ProcessPoolStats},
    queued_task::QueuedTask,
    worker_connection::{self, PoolContext, THREAD, WorkerEvents},
    worker_handle::WorkerHandle,
};
use crate::{budget::Budget, interrupt::Cancel};

/// The tasks and workers of a pool.
pub(super) struct Scheduler {
    /// The state, and the timer: a thread that ends tasks at their timeouts, and checks the number of workers at set times.
    state: Arc<BackgroundThreads<Dispatch>>,
    /// Notified when a worker has ended, or when another thread has ended a job.
    pub(super) ended: Condvar,
    /// Notified when a revoked task has come back, or can no longer come back.
    pub(super) revoked: Condvar,
    pub(super) context: Arc<PoolContext>,
    /// A reference to this scheduler, for jobs.
    holder: Weak<dyn CancelHook>,
}

impl Scheduler {
    pub(super) fn new(limit: usize, replace_after: Option<u64>, budget: &Budget) -> Arc<Self> {
        Arc::new_cyclic(|holder: &Weak<Self>| Self {
            state: Arc::new(BackgroundThreads::one(THREAD, Dispatch::new(limit, budget))),
            ended: Condvar::new(),
            revoked: Condvar::new(),
            context: Arc::new(PoolContext {
                directory: config_directory().ok(),
                encoder: CallEncoder::default(),
                requests: RequestPool::new(THREAD),
                replace_after,
            }),
            holder: holder.clone() as _,
        })
    }

    /// Locks the state. No user code runs under the lock, so a poisoned state is consistent.
    pub(super) fn lock(&self) -> MutexGuard<'_, Locked<Dispatch>> {
        self.state.lock()
    }

    pub(super) fn stats(&self) -> ProcessPoolStats {
        self.lock().stats
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Accepts a task, and dispatches it if a worker has room for it.
    pub(super) fn accept(self: &Arc<Self>, task: QueuedTask) {
        let mut state = self.lock();
        if state.closed {
            drop(state);
            return task.reply.complete(Err(JobError::rejected(CLOSED)));
        }
        state.stats.received += 1;
        task.reply.on_cancel(self.holder.clone());
        state.queue.push_back(task);
        self.dispatch(state, EndedTasks::default());
    }

    /// Dispatches as many tasks as possible, in order, and ends workers that are no longer needed. Then ends the jobs
    /// in `ended`.
    pub(super) fn dispatch(self: &Arc<Self>, mut state: MutexGuard<'_, Locked<Dispatch>>, mut ended: EndedTasks) {
        if state.killed {
            ended.add(mem::take(&mut state.queue), &JobError::Cancelled);
        }
        state.note_stalled_queue();
        loop {
            match self.dispatch_first(&mut state, &mut ended) {
                Ok(true) => {}
                // No worker is busy or ending, so no later event would try again.
                Err(why) if !state.handles.iter().any(|handle| handle.is_busy() || handle.is_ending()) => {
                    let env = state.queue.front().and_then(|task| task.requirements.env.clone());
                    ended.add(state.take_queued(&env), &JobError::rejected(why));
                }
                Ok(false) | Err(_) => break,
            }
        }
        let check = state.review_workers();
        self.set_next_check(&mut state, check);
        drop(state);
        self.end_all(ended);
    }

    /// Dispatches the first task: to an idle worker, else to a new one, if the resources that it asks for are free;
    /// else to a worker with short tasks of the same demand. Removes the task instead if it was cancelled. Returns
    /// whether it was dispatched or removed.
    ///
    /// # Errors
    /// Fails with a message if no worker can be started.
    fn dispatch_first(self: &Arc<Self>, state: &mut Dispatch, ended: &mut EndedTasks) -> Result<bool, String> {
        let Some(task) = state.queue.front() else { return Ok(false) };
        if task.reply.is_cancelled() {
            ended.add(state.queue.pop_front(), &JobError::Cancelled);
            return Ok(true);
        }
        let demand = task.requirements.demand;
        let idle = if state.free.has(demand) { self.idle_worker(state)? } else { None };
        let Some(at) = idle.or_else(|| state.place_behind_others()) else { return Ok(false) };
        let Some(task) = state.queue.pop_front() else { return Ok(false) };
        // From here on, the task must come back before it can be cancelled. It may just have been cancelled.
        if !task.reply.mark_dispatched() {
            ended.add([task], &JobError::Cancelled);
            return Ok(true);
        }
        let grant = idle.map(|_| state.free.take(demand));
        state.next += 1;
        let number = state.next;
        state.handles[at].dispatch(number, task, grant);
        Ok(true)
    }

    /// Returns the index of an idle worker for the first task, if there is one. Starts one if the pool has room.
    fn idle_worker(self: &Arc<Self>, state: &mut Dispatch) -> Result<Option<usize>, String> {
        let env = match state.place_first() {
            None => return Ok(None),
            Some(Placement::Idle(at)) => return Ok(Some(at)),
            Some(Placement::NewWorker(env)) => env,
        };
        state.next += 1;
        let events: Arc<dyn WorkerEvents> = self.clone();
        let handle = worker_connection::open(state.next, env, &self.context, &events);
        state.handles.push(handle.map_err(|error| error.report().to_string())?);
        state.stats.workers += 1;
        Ok(Some(state.handles.len() - 1))
    }

    /// Closes the pool for new tasks.
    pub(super) fn close(self: &Arc<Self>) {
        let mut state = self.lock();
        state.closed = true;
        self.dispatch(state, EndedTasks::default());
    }

    /// Closes the pool, cancels queued tasks, and kills all workers.
    pub(super) fn kill(self: &Arc<Self>) {
        let mut state = self.lock();
        state.closed = true;
        state.killed = true;
        state.handles.iter_mut().for_each(WorkerHandle::kill);
        self.dispatch(state, EndedTasks::default());
    }

    /// Cancels the tasks that no worker has started, and returns their number.
    pub(super) fn cancel_waiting(self: &Arc<Self>) -> usize {
        let mut state = self.lock();
        let mut ended = EndedTasks::default();
        ended.add(mem::take(&mut state.queue), &JobError::Cancelled);
        let count = ended.0.len() + state.handles.iter_mut().map(WorkerHandle::cancel_waiting).sum::<usize>();
        self.dispatch(state, ended);
        count
    }

    /// Ends a task's job. On a thread of the pool, an end that may take a long time is left to another thread, because
    /// callbacks of the job may wait for the pool itself.
    pub(super) fn end(self: &Arc<Self>, task: QueuedTask, outcome: Result<Bytes, JobError>) {
        if !worker_connection::is_own_thread() {
            return task.end(outcome);
        }
        if let Err((task, outcome)) = task.try_end_inline(outcome) {
            self.lock().ending += 1;
            let ending = Ending(self.clone());
            self.context.requests.serve(Box::new(move || {
                let _ending = ending;
                task.end(outcome);
            }));
        }
    }

    /// Waits until all workers have ended. Returns at once on a thread of the pool, because workers need these threads
    /// in order to end.
    pub(super) fn wait(&self) {
        if worker_connection::is_own_thread() {
            return;
        }
        if !self.lock().is_working() {
            return;
        }
        blocking_hooks::blocking(|| drop(self.ended.wait_while(self.lock(), |state| state.is_working())));
    }

    /// Ends these jobs.
    fn end_all(self: &Arc<Self>, ended: EndedTasks) {
        for (task, why) in ended.0 {
            self.end(task, Err(why));
        }
    }
}

/// The timer.
impl Scheduler {
    /// Adds a deadline at which the task of this worker is ended.
    pub(super) fn add_deadline(
        self: &Arc<Self>,
        state: &mut Locked<Dispatch>,
        deadline: Instant,
        worker: u64,
        task: u64,
    ) {
        state.deadlines.workers.insert((deadline, task), worker);
        self.wake_timer(state);
    }

    /// Sets the time of the next check of the workers, in place of the earlier one.
    fn set_next_check(self: &Arc<Self>, state: &mut Locked<Dispatch>, at: Option<Instant>) {
        if state.deadlines.next_check != at {
            state.deadlines.next_check = at;
            match at {
                Some(_) => self.wake_timer(state),
                None => self.let_timer_end(state),
            }
        }
    }

    fn wake_timer(self: &Arc<Self>, state: &mut Locked<Dispatch>) {
        let scheduler = self.clone();
        let step = move |state: &mut Dispatch| match state.deadlines.next() {
            Some(at) if at > Instant::now() => Next::WaitUntil(at),
            Some(_) => {
                let scheduler = scheduler.clone();
                Next::Work(move || scheduler.run_due(Instant::now()))
            }
            None => Next::End,
        };
        if let Err(error) = BackgroundThreads::wake(self.state.clone(), state, step) {
            fleche_core::spi::log::error!(%error, "cannot start the thread that enforces timeouts; tasks may run longer");
        }
    }

    /// Removes the deadline of a task that has ended in time.
    pub(super) fn remove_deadline(&self, state: &mut Locked<Dispatch>, deadline: Instant, task: u64) {
        state.deadlines.workers.remove(&(deadline, task));
        self.let_timer_end(state);
    }

    /// Removes the deadline of the task of a worker that is gone.
    pub(super) fn remove_deadlines_of(&self, state: &mut Locked<Dispatch>, worker: u64) {
        state.deadlines.workers.retain(|_, of| *of != worker);
        self.let_timer_end(state);
    }

    /// Wakes the thread to end if it has nothing left to do.
    fn let_timer_end(&self, state: &Locked<Dispatch>) {
        if state.deadlines.next().is_none() {
            self.state.wake_waiting(state);
        }
    }

    /// Checks the workers, or ends the task with the earliest deadline, if that is due.
    fn run_due(self: &Arc<Self>, now: Instant) {
        let mut state = self.lock();
        let mut ended = EndedTasks::default();
        if state.deadlines.next_check.take_if(|check| *check <= now).is_some() {
            return self.dispatch(state, ended);
        }
        if let Some(entry) = state.deadlines.workers.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((_, task), worker) = entry.remove_entry();
            if let Some(handle) = state.handles.iter_mut().find(|handle| handle.id == worker) {
                ended.add(handle.time_out(task), &JobError::TimedOut);
            }
        }
        drop(state);
        self.end_all(ended);
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
