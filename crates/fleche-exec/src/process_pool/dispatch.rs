//! The dispatch state of a process pool: the assignment of tasks to workers, and the number of workers. It has no threads and
//! no I/O of its own.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    fmt, mem,
    time::{Duration, Instant},
};

use fleche_core::{JobError, job::blocking_hooks::JobId, spi::counted};

use super::{
    queued_task::{Env, QueuedTask},
    worker_handle::{ReturnedTasks, WorkerHandle},
};
use crate::budget::{Budget, ResourceTracker};

/// The tasks and workers of a pool.
#[derive(Default)]
pub(super) struct Dispatch {
    /// The number of workers, not counting stand-ins.
    limit: usize,
    pub(super) queue: VecDeque<QueuedTask>,
    /// Tasks that were revoked, until their jobs are cancelled.
    pub(super) revoked: Vec<QueuedTask>,
    pub(super) handles: Vec<WorkerHandle>,
    pub(super) free: ResourceTracker,
    pub(super) deadlines: Deadlines,
    pub(super) stand_ins: StandIns,
    /// The number of jobs that are being ended on other threads.
    pub(super) ending: usize,
    pub(super) closed: bool,
    pub(super) killed: bool,
    /// The last number that a task or a worker got.
    pub(super) next: u64,
    /// The number of consecutive workers with each environment that ended before they could take a task.
    pub(super) failed_starts: HashMap<Env, usize>,
    pub(super) stats: ProcessPoolStats,
}

/// The worker to which a task can be dispatched.
pub(super) enum Placement {
    /// The idle worker with this index.
    Idle(usize),
    /// A new worker with these environment variables.
    NewWorker(Env),
}

impl Dispatch {
    /// Creates the state of a pool of up to `limit` workers, with the whole budget free.
    pub(super) fn new(limit: usize, budget: &Budget) -> Self {
        Self { limit, free: ResourceTracker::new(budget), ..Self::default() }
    }

    /// Returns where the first task can be dispatched: to an idle worker with its environment, or to a new one if the
    /// pool has room. Returns `None` if it has to wait.
    pub(super) fn place_first(&mut self) -> Option<Placement> {
        let env = self.queue.front().map(|task| task.requirements.env.clone())?;
        // There may be more idle workers than may run at the same time.
        if self.handles.iter().filter(|handle| handle.is_running()).count() >= self.limit {
            return None;
        }
        if let Some(at) = self.handles.iter().position(|handle| handle.is_idle() && handle.has(&env)) {
            return Some(Placement::Idle(at));
        }
        if self.handles.len() < self.room() {
            return Some(Placement::NewWorker(env));
        }
        // Makes room for another worker. When this one is gone, the task is tried again.
        if let Some(other) = self.handles.iter_mut().find(|handle| handle.is_idle()) {
            other.end();
        }
        None
    }

    /// Returns the index of a busy worker with room for the first task, if there is one: its tasks are short and have
    /// the same demand.
    pub(super) fn place_behind_others(&self) -> Option<usize> {
        let task = self.queue.front()?;
        let with_room = (0..self.handles.len()).filter(|at| self.handles[*at].has_room(task));
        with_room.min_by_key(|at| self.handles[*at].dispatched())
    }

    /// Removes the tasks that wait for a worker with these environment variables.
    pub(super) fn take_queued(&mut self, env: &Env) -> VecDeque<QueuedTask> {
        let (taken, rest) = mem::take(&mut self.queue).into_iter().partition(|task| task.requirements.env == *env);
        self.queue = rest;
        taken
    }

    /// Ends workers that are no longer needed, takes back queued tasks for idle workers, and returns when the workers
    /// are to be checked again.
    pub(super) fn review_workers(&mut self) -> Option<Instant> {
        for handle in self.handles.iter_mut().filter(|handle| handle.is_spent()) {
            handle.end();
        }
        let check = self.review_stand_ins();
        if self.queue.is_empty() {
            if self.handles.iter().any(WorkerHandle::is_idle) {
                self.handles.iter_mut().for_each(WorkerHandle::revoke);
            }
            if self.closed && !self.handles.iter().any(WorkerHandle::is_busy) {
                self.handles.iter_mut().for_each(WorkerHandle::end);
            }
        }
        check
    }

    /// Returns whether a worker, a task, or the end of a job is left.
    pub(super) fn is_working(&self) -> bool {
        let idle = self.handles.is_empty() && self.queue.is_empty() && self.revoked.is_empty();
        !(idle && self.ending == 0)
    }

    /// Queues or ends the tasks that a worker has returned or left behind.
    pub(super) fn requeue_returned(&mut self, returned: ReturnedTasks, ended: &mut EndedTasks) {
        ended.add(returned.cancelled, &JobError::Cancelled);
        returned.queued.into_iter().rev().for_each(|task| self.queue.push_front(task.reset()));
        self.revoked.extend(returned.revoked.into_iter().map(QueuedTask::reset));
    }

    /// Returns whether the task of this job is revoked. Revokes it if it is queued.
    pub(super) fn take_revoked(&mut self, job: JobId) -> bool {
        if self.revoked.iter().any(|task| task.reply.is_of(job)) {
            return true;
        }
        // A task that has come back for another reason is most likely the first in the queue.
        let at = self.queue.iter().position(|task| task.reply.is_of(job));
        let task = at.and_then(|at| self.queue.remove(at));
        let found = task.is_some();
        self.revoked.extend(task);
        found
    }
}

/// Jobs to be ended after the lock is released, since that runs user code.
#[derive(Default)]
pub(super) struct EndedTasks(pub(super) Vec<(QueuedTask, JobError)>);

impl EndedTasks {
    pub(super) fn add(&mut self, tasks: impl IntoIterator<Item = QueuedTask>, why: &JobError) {
        self.0.extend(tasks.into_iter().map(|task| (task, why.clone())));
    }
}

/// The deadlines of tasks, with the workers that run them.
#[derive(Default)]
pub(super) struct Deadlines {
    pub(super) workers: BTreeMap<(Instant, u64), u64>,
    /// The time at which the pool is to check again whether it has too few or too many workers.
    pub(super) next_check: Option<Instant>,
}

impl Deadlines {
    /// Returns the time of the next deadline or check.
    pub(super) fn next(&self) -> Option<Instant> {
        let end = self.workers.first_key_value().map(|((deadline, _), _)| *deadline);
        end.into_iter().chain(self.next_check).min()
    }
}

/// The maximum number of stand-ins at the same time.
const MAX_STAND_INS: usize = 64;
/// The time for which an unneeded stand-in is kept, so that waits that follow one another share one process.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// The interval after which one more worker starts while fewer run than could: the waiting workers may need a task that
/// is queued.
const STEP: Duration = Duration::from_secs(1);

/// Stand-ins, workers that run tasks in the place of waiting ones.
#[derive(Default)]
pub(super) struct StandIns {
    /// The time since which there have been more workers than the pool has room for.
    surplus: Option<Instant>,
    /// The time since which a queued task has been held up only by waiting workers.
    held_up: Option<Instant>,
    /// The number of further stand-ins that are allowed because tasks have been held up for too long.
    more: usize,
}

impl StandIns {
    /// Notes that a worker's wait has ended.
    pub(super) fn worker_resumed(&mut self) {
        (self.held_up, self.more) = (None, 0);
    }
}

impl Dispatch {
    /// Returns the maximum number of workers.
    ///
    /// A waiting worker has a stand-in. Workers that wait for the same call share one: further ones would most likely
    /// wait for that call too.
    pub(super) fn room(&self) -> usize {
        let paused = || self.handles.iter().filter(|handle| handle.is_paused());
        let calls: HashSet<_> = paused().filter_map(WorkerHandle::awaited_call).collect();
        let others = paused().filter(|handle| handle.awaited_call().is_none()).count();
        self.limit + (calls.len() + others + self.stand_ins.more).min(paused().count()).min(MAX_STAND_INS)
    }

    /// Allows one more stand-in if a queued task has been held up for too long.
    pub(super) fn note_stalled_queue(&mut self) {
        let held_up = self.handles.iter().any(WorkerHandle::is_paused)
            && !self.handles.iter().any(WorkerHandle::is_idle)
            && self.handles.iter().filter(|handle| handle.is_running()).count() < self.limit
            && self.queue.front().is_some_and(|task| self.free.has(task.requirements.demand));
        let (now, stand_ins) = (Instant::now(), &mut self.stand_ins);
        stand_ins.held_up = held_up.then(|| *stand_ins.held_up.get_or_insert(now));
        if stand_ins.held_up.is_some_and(|since| now.duration_since(since) >= STEP) {
            stand_ins.more = (stand_ins.more + 1).min(MAX_STAND_INS);
            stand_ins.held_up = Some(now);
        }
    }

    /// Ends stand-ins that have not been needed for a while, and schedules the next check if one is due.
    pub(super) fn review_stand_ins(&mut self) -> Option<Instant> {
        self.note_stalled_queue();
        let now = Instant::now();
        let kept = self.handles.iter().filter(|handle| !handle.is_ending()).count();
        let surplus = kept.saturating_sub(self.room());
        let since = (surplus > 0).then(|| *self.stand_ins.surplus.get_or_insert(now));
        self.stand_ins.surplus = since;
        if since.is_some_and(|since| now.duration_since(since) >= KEEP_ALIVE) {
            self.handles.iter_mut().filter(|handle| handle.is_idle()).take(surplus).for_each(WorkerHandle::end);
            // The other stand-ins are busy and are checked again later.
            self.stand_ins.surplus = Some(now);
        }
        let step = self.stand_ins.held_up.map(|since| since + STEP);
        let end = self.stand_ins.surplus.map(|since| since + KEEP_ALIVE);
        step.into_iter().chain(end).min()
    }
}
/// The counters of a [`ProcessPool`](crate::ProcessPool).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessPoolStats {
    /// The number of tasks that the pool has accepted. Calls that were answered earlier, for example as hits by
    /// [`fleche_core::wrap_executor`], do not count.
    pub received: u64,
    /// The number of tasks that workers have started, retries included.
    pub started: u64,
    /// The number of workers that were started.
    pub workers: u64,
    /// The number of workers that died without a request to end.
    pub lost: u64,
}

impl fmt::Display for ProcessPoolStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { received, started, workers, lost } = self;
        let (received, workers) = (counted(*received, "task", "tasks"), counted(*workers, "worker", "workers"));
        write!(f, "{received} received, {started} started; {workers} started, {lost} lost")
    }
}

pub(super) const CLOSED: &str = "the process pool was shut down; submit tasks before that, or create another pool";
