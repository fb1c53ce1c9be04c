//! The pool's handle of a worker process: the tasks dispatched to it, and the resources that they hold.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, mpsc::Sender},
    time::{Duration, Instant},
};

use bytes::Bytes;
use fleche_core::{
    CallKey,
    context::Binding,
    job::blocking_hooks::JobId,
    spi::{BindingSpi, PendingGuard, PendingReplies},
};
use fleche_remote::spi::{ClaimPermits, Frame, TaskPermit};
use nix::unistd::Pid;

use super::{
    codec, kinds,
    queued_task::{Env, QueuedTask},
    spawn,
    worker_state::{Pause, ReturnDestination, TaskState, WorkerState},
};
use crate::budget::{Demand, Grant};

/// The maximum number of tasks that are dispatched at once to a worker with short tasks, and their maximum total bytes.
const CREDIT: usize = 64;
const CREDIT_BYTES: usize = 1 << 20;
/// The time below which a task is short.
const SHORT: Duration = Duration::from_millis(1);

/// A message to a worker.
pub(super) enum Message {
    Frame(Frame),
    /// A task with its binding, and the place for the permit to compute its call.
    Task(Frame, Option<Binding>, TaskPermit),
}

/// The pool's handle of a worker.
pub(super) struct WorkerHandle {
    pub(super) id: u64,
    process: Pid,
    outbox: Sender<Message>,
    /// The tasks that were dispatched to the worker and have not ended, in order.
    dispatched: VecDeque<DispatchedTask>,
    bytes: usize,
    /// Counts the tasks that the worker has yet to run, for the detection of quiescence.
    pending: Arc<PendingReplies>,
    /// Whether further tasks may be dispatched while the worker is busy: from when half of its credit is free until none
    /// is, so that its threads wake up for many tasks at once.
    is_filling: bool,
    /// The time that the worker's recent tasks took; `None` before the first one has ended.
    recent_duration: Option<Duration>,
    /// The additional environment variables that the worker was started with.
    env: Env,
    /// The resources that the running task holds. The next task takes them over if it asks for the same.
    demand: Demand,
    grant: Grant,
    /// The number of further tasks that may be dispatched to the worker.
    remaining_tasks: u64,
    /// Whether the pool has revoked all unstarted tasks, and the worker has not answered yet.
    revoking_all: bool,
    state: WorkerState,
}

struct DispatchedTask {
    number: u64,
    size: usize,
    state: TaskState,
    task: QueuedTask,
    _pending: PendingGuard,
}

/// Tasks that a worker returns unstarted, in order.
#[derive(Default)]
pub(super) struct ReturnedTasks {
    /// Tasks that were revoked because threads wait for them.
    pub(super) revoked: Vec<QueuedTask>,
    pub(super) cancelled: Vec<QueuedTask>,
    /// Tasks for other workers.
    pub(super) queued: Vec<QueuedTask>,
}

impl ReturnedTasks {
    fn from_dispatched(dispatched: impl IntoIterator<Item = DispatchedTask>) -> Self {
        let mut returned = Self::default();
        for DispatchedTask { task, state, .. } in dispatched {
            let to = match state.return_destination() {
                ReturnDestination::Revoked => &mut returned.revoked,
                ReturnDestination::Cancelled => &mut returned.cancelled,
                ReturnDestination::Queue => &mut returned.queued,
            };
            to.push(task);
        }
        returned
    }
}

/// The tasks and resources that a lost worker leaves behind.
pub(super) struct LostTasks {
    pub(super) started: Vec<QueuedTask>,
    pub(super) returned: ReturnedTasks,
    pub(super) grant: Grant,
}

impl WorkerHandle {
    /// Creates the handle of a worker that runs as this process, receives messages from `outbox` and may run
    /// `remaining_tasks` tasks.
    pub(super) fn new(
        id: u64,
        process: Pid,
        outbox: Sender<Message>,
        pending: Arc<PendingReplies>,
        env: Env,
        remaining_tasks: u64,
    ) -> Self {
        Self {
            id,
            process,
            outbox,
            dispatched: VecDeque::new(),
            bytes: 0,
            pending,
            is_filling: true,
            recent_duration: None,
            env,
            demand: Demand::default(),
            grant: Grant::default(),
            remaining_tasks,
            revoking_all: false,
            state: WorkerState::default(),
        }
    }

    /// Returns whether the worker is free for a task with the worker's environment.
    pub(super) fn is_idle(&self) -> bool {
        self.dispatched.is_empty() && !self.is_ending() && self.remaining_tasks > 0
    }

    /// Returns whether the worker's task waits.
    pub(super) fn is_paused(&self) -> bool {
        self.state.paused().is_some()
    }

    /// Returns whether the worker runs a task that does not wait.
    pub(super) fn is_running(&self) -> bool {
        self.is_busy() && !self.is_paused()
    }

    /// Returns the call that the worker's task waits for, or `None` if the task does not wait, or waits for another event.
    pub(super) fn awaited_call(&self) -> Option<&CallKey> {
        self.state.paused()?.call.as_ref()
    }

    /// Notes that the worker's task begins to wait, for this call or for another event. Returns the number of cores that are
    /// free during the wait. Tasks queued behind it are revoked, for other workers.
    pub(super) fn pause(&mut self, call: Option<CallKey>) -> usize {
        let cores = self.grant.without_cores();
        self.state.pause(Pause { cores, call });
        self.pending.rest(true);
        self.revoke();
        cores
    }

    /// Notes that the worker's task resumes. Returns the number of cores that the task takes again.
    pub(super) fn resume(&mut self) -> usize {
        let cores = self.state.resume().map_or(0, |pause| pause.cores);
        self.pending.rest(false);
        self.grant.with_cores(cores);
        cores
    }

    /// Returns whether the worker has run as many tasks as it may.
    pub(super) fn is_spent(&self) -> bool {
        self.dispatched.is_empty() && !self.is_ending() && self.remaining_tasks == 0
    }

    /// Returns the additional environment variables that the worker was started with.
    pub(super) fn env(&self) -> &Env {
        &self.env
    }

    pub(super) fn has(&self, env: &Env) -> bool {
        self.env == *env
    }

    pub(super) fn is_busy(&self) -> bool {
        !self.dispatched.is_empty()
    }

    pub(super) fn is_ending(&self) -> bool {
        self.state.is_ending()
    }

    pub(super) fn dispatched(&self) -> usize {
        self.dispatched.len()
    }

    /// Returns whether this task may be dispatched although the worker is busy, behind short tasks with the same
    /// demand.
    pub(super) fn has_room(&self, task: &QueuedTask) -> bool {
        let short = self.recent_duration.is_some_and(|recent| recent < SHORT);
        let open = !self.revoking_all && !self.is_ending() && !self.is_paused() && self.remaining_tasks > 0;
        let alike =
            self.has(&task.requirements.env) && self.demand == task.requirements.demand && self.grant.gpus.is_empty();
        short && open && alike && self.is_filling && self.bytes + task.size() <= CREDIT_BYTES
    }

    /// Dispatches a task that is marked as sent. `grant` holds the task's resources, or is `None` if the task takes over those
    /// of the tasks before it.
    pub(super) fn dispatch(&mut self, number: u64, task: QueuedTask, grant: Option<Grant>) {
        if let Some(grant) = grant {
            (self.demand, self.grant) = (task.requirements.demand, grant);
        }
        let mut parts = task.parts.clone();
        parts[codec::TASK_ENV] = task.requirements.task_env(&self.grant);
        let frame = Frame::new(kinds::TASK, number, parts);
        let size = frame.size();
        // A dead worker reads nothing. The reader thread notices its death.
        let _ = self.outbox.send(Message::Task(frame, task.binding.clone(), task.permit.clone()));
        self.bytes += size;
        self.remaining_tasks -= 1;
        self.dispatched.push_back(DispatchedTask {
            number,
            size,
            state: TaskState::Sent,
            task,
            _pending: self.pending.ask(),
        });
        self.is_filling &= self.dispatched.len() < CREDIT;
    }

    /// Notes that a task has started. Returns its deadline, and the parts of its frame that are no longer needed.
    pub(super) fn started(&mut self, number: u64, permits: &ClaimPermits) -> (Option<Instant>, Vec<Bytes>) {
        let Some(dispatched) = self.dispatched.iter_mut().find(|dispatched| dispatched.number == number) else {
            return (None, Vec::new());
        };
        permits.task(
            &dispatched.task.permit,
            dispatched.task.binding.as_ref().map_or(&[], |binding| &binding.in_flight_calls()[..]),
        );
        // From here on, the task cannot be cancelled.
        dispatched.task.reply.start();
        let deadline = dispatched.task.requirements.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        dispatched.state.start(deadline);
        // The arguments may be large, and only a retry would need them again.
        let parts =
            if dispatched.task.requirements.retries == 0 { mem::take(&mut dispatched.task.parts) } else { Vec::new() };
        (deadline, parts)
    }

    /// Notes that a task has ended. Returns the task and its deadline, or `None` if the worker did not have it.
    pub(super) fn done(&mut self, number: u64, took: Duration) -> Option<(QueuedTask, Option<Instant>)> {
        // One long task counts at once; several short ones have to follow before tasks count as short again.
        self.recent_duration = Some(self.recent_duration.map_or(took, |recent| took.max((recent * 3 + took) / 4)));
        self.remove(number).map(|dispatched| (dispatched.task, dispatched.state.deadline()))
    }

    /// Returns the resources of the tasks once no task is left.
    pub(super) fn grant_back(&mut self) -> Option<Grant> {
        self.dispatched.is_empty().then(|| mem::take(&mut self.grant))
    }

    /// Removes a task that has timed out, and kills the worker: nothing else ends a body.
    pub(super) fn time_out(&mut self, number: u64) -> Option<QueuedTask> {
        let dispatched = self.remove(number)?;
        self.kill();
        Some(dispatched.task)
    }

    fn remove(&mut self, number: u64) -> Option<DispatchedTask> {
        let at = self.dispatched.iter().position(|dispatched| dispatched.number == number)?;
        let dispatched = self.dispatched.remove(at)?;
        self.bytes -= dispatched.size;
        self.is_filling |= self.dispatched.len() <= CREDIT / 2;
        Some(dispatched)
    }

    /// Marks the unstarted tasks as cancelled and revokes them. Returns their number; some may still start.
    pub(super) fn cancel_waiting(&mut self) -> usize {
        let count = self.dispatched.iter_mut().filter_map(|dispatched| dispatched.state.cancel().then_some(())).count();
        self.revoke();
        count
    }

    /// Revokes the unstarted tasks, except the first one if it is about to run. The number 0 in the message stands for all of them.
    pub(super) fn revoke(&mut self) {
        if self.dispatched.len() > 1 && !self.revoking_all && !self.is_ending() {
            self.revoking_all = true;
            let _ = self.outbox.send(Message::Frame(Frame::new(kinds::REVOKE, 0, Vec::new())));
        }
    }

    /// Revokes the task of this job, for a thread that waits for it (`Scheduler::await_revocation`). Returns whether the task may
    /// still come back, or `None` if the worker does not have it.
    pub(super) fn revoke_job(&mut self, job: JobId) -> Option<bool> {
        let dispatched = self.dispatched.iter_mut().find(|dispatched| dispatched.task.reply.is_of(job))?;
        if dispatched.state.begin_revocation() {
            let _ = self.outbox.send(Message::Frame(Frame::new(kinds::REVOKE, dispatched.number, Vec::new())));
        }
        Some(dispatched.state.is_revoking())
    }

    /// Notes that no thread waits any longer for the task of this job.
    pub(super) fn abandon_revocation(&mut self, job: JobId) {
        if let Some(dispatched) = self.dispatched.iter_mut().find(|dispatched| dispatched.task.reply.is_of(job)) {
            dispatched.state.abandon_revocation();
        }
    }

    /// Removes the tasks that the worker returns after the task `asked` was revoked, or all unstarted tasks if `asked`
    /// is 0.
    pub(super) fn revoked(&mut self, asked: u64, numbers: &[u64]) -> ReturnedTasks {
        if asked == 0 {
            self.revoking_all = false;
        }
        let returned: Vec<_> = numbers.iter().filter_map(|number| self.remove(*number)).collect();
        self.remaining_tasks += returned.len() as u64;
        if let Some(late) = self.dispatched.iter_mut().find(|dispatched| dispatched.number == asked) {
            late.state.revocation_failed();
        }
        ReturnedTasks::from_dispatched(returned)
    }

    /// Tells the worker to end, once.
    pub(super) fn end(&mut self) {
        if self.state.end() {
            let _ = self.outbox.send(Message::Frame(Frame::new(kinds::END, 0, Vec::new())));
        }
    }

    /// Kills the worker, with the programs that its bodies started.
    pub(super) fn kill(&mut self) {
        self.state.end();
        spawn::kill(self.process);
    }

    /// Returns the tasks and the resources that the worker had when it was lost.
    pub(super) fn into_lost_tasks(self) -> LostTasks {
        let (started, unstarted): (Vec<_>, Vec<_>) =
            self.dispatched.into_iter().partition(|dispatched| dispatched.state.has_started());
        LostTasks {
            started: started.into_iter().map(|dispatched| dispatched.task).collect(),
            returned: ReturnedTasks::from_dispatched(unstarted),
            grant: self.grant,
        }
    }
}
