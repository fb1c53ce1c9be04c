//! The scheduler's reactions to the reports of workers and to the cancellation of jobs.

use std::{
    os::unix::process::ExitStatusExt,
    process::{Child, ExitStatus},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use fleche_core::{
    CallKey, JobError, encoding,
    job::blocking_hooks::{JobId, blocking},
    spi::{CacheSpi, CancelHook, LockResultExt},
};
use fleche_remote::spi::{ClaimPermits, Frame, number};

use super::{
    dispatch::{Dispatch, EndedTasks},
    scheduler::Scheduler,
    worker_connection::WorkerEvents,
};

/// The number of consecutive workers with the same environment that must fail to start before the tasks that wait for
/// such a worker are refused.
const MAX_FAILED_STARTS: usize = 3;

/// The time limit for a revoked task to come back. A worker that does not answer, for example a stopped one, keeps its
/// task.
const REVOKE_TIMEOUT: Duration = Duration::from_secs(10);

impl WorkerEvents for Scheduler {
    fn ready(&self, worker: u64) {
        let Dispatch { handles, failed_starts, .. } = &mut **self.lock();
        if let Some(handle) = handles.iter().find(|handle| handle.id == worker) {
            failed_starts.remove(handle.env());
        }
    }

    fn started(self: Arc<Self>, worker: u64, number: u64, permits: &ClaimPermits) {
        let mut state = self.lock();
        state.stats.started += 1;
        let Some(handle) = state.handles.iter_mut().find(|handle| handle.id == worker) else { return };
        let (deadline, parts) = handle.started(number, permits);
        if let Some(deadline) = deadline {
            self.add_deadline(&mut state, deadline, worker, number);
        }
        drop(state);
        // Dropping the arguments may take a while.
        drop(parts);
    }

    fn paused(self: Arc<Self>, worker: u64, call: Option<CallKey>) {
        let mut state = self.lock();
        let Dispatch { handles, free, .. } = &mut **state;
        if let Some(handle) = handles.iter_mut().find(|handle| handle.id == worker) {
            free.give_back_cores(handle.pause(call));
        }
        self.dispatch(state, EndedTasks::default());
    }

    fn resumed(&self, worker: u64) {
        let mut state = self.lock();
        let Dispatch { handles, free, stand_ins, .. } = &mut **state;
        stand_ins.worker_resumed();
        if let Some(handle) = handles.iter_mut().find(|handle| handle.id == worker) {
            free.take_cores(handle.resume());
        }
    }

    fn done(self: Arc<Self>, worker: u64, frame: &Frame, outcome: Result<Bytes, JobError>) {
        let (number, took) = (frame.number, Duration::from_nanos(number(&frame.part(0))));
        let mut state = self.lock();
        let Dispatch { handles, free, .. } = &mut **state;
        let mut task = None;
        if let Some(handle) = handles.iter_mut().find(|handle| handle.id == worker) {
            task = handle.done(number, took);
            if let Some(mut grant) = handle.grant_back() {
                free.give_back(&mut grant);
            }
        }
        if let Some((_, Some(deadline))) = &task {
            self.remove_deadline(&mut state, *deadline, number);
        }
        self.dispatch(state, EndedTasks::default());
        if let Some((task, _)) = task {
            if let (Some(binding), Ok(counted)) = (&task.binding, encoding::from_slice(&frame.part(1))) {
                binding.cache().merge_stats(&counted);
            }
            self.end(task, outcome);
        }
    }

    fn revoked(self: Arc<Self>, worker: u64, asked: u64, numbers: &[u64]) {
        let mut state = self.lock();
        let mut ended = EndedTasks::default();
        let Dispatch { handles, free, .. } = &mut **state;
        if let Some(handle) = handles.iter_mut().find(|handle| handle.id == worker) {
            let returned = handle.revoked(asked, numbers);
            if let Some(mut grant) = handle.grant_back() {
                free.give_back(&mut grant);
            }
            state.requeue_returned(returned, &mut ended);
            self.revoked.notify_all();
        }
        self.dispatch(state, ended);
    }

    fn gone(self: Arc<Self>, worker: u64, mut child: Child, ready: bool) {
        let mut state = self.lock();
        // Under the same lock as killing: once the worker is reaped, its process id may belong to another process.
        let status = child.wait();
        let Some(at) = state.handles.iter().position(|handle| handle.id == worker) else { return };
        let handle = state.handles.swap_remove(at);
        self.remove_deadlines_of(&mut state, worker);
        let killed = handle.is_ending();
        if !killed {
            state.stats.lost += 1;
        }
        let mut ended = EndedTasks::default();
        let env = handle.env().clone();
        let mut lost = handle.into_lost_tasks();
        state.free.give_back(&mut lost.grant);
        state.requeue_returned(lost.returned, &mut ended);
        self.revoked.notify_all();
        for mut task in lost.started {
            if !killed && task.requirements.retries > 0 {
                task.requirements.retries -= 1;
                state.queue.push_front(task.reset());
            } else {
                let status = status.as_ref().ok();
                let (signal, code) = (status.and_then(ExitStatusExt::signal), status.and_then(ExitStatus::code));
                ended.add([task], &JobError::worker_died(signal, code));
            }
        }
        if !ready && !killed {
            let count = state.failed_starts.entry(env.clone()).or_default();
            *count += 1;
            if *count >= MAX_FAILED_STARTS {
                state.failed_starts.remove(&env);
                let with = if env.is_some() { " with the variables in `env`" } else { "" };
                let how = status.as_ref().map_or_else(ToString::to_string, ToString::to_string);
                let why =
                    format!("workers that are started{with} end before they take a task ({how}); see their stderr");
                ended.add(state.take_queued(&env), &JobError::rejected(why));
            }
        }
        self.dispatch(state, ended);
        self.ended.notify_all();
    }
}

impl Scheduler {
    /// Waits until the task of this job can no longer start. Returns `false` if it has started, or if its worker does
    /// not answer.
    fn await_revocation(&self, job: JobId) -> bool {
        let until = Instant::now() + REVOKE_TIMEOUT;
        let mut state = self.lock();
        loop {
            match state.handles.iter_mut().find_map(|handle| handle.revoke_job(job)) {
                None => return state.take_revoked(job),
                Some(false) => return false,
                Some(true) => {}
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.handles.iter_mut().for_each(|handle| handle.abandon_revocation(job));
                return false;
            }
            state = self.revoked.wait_timeout(state, left).ignore_poison().0;
        }
    }
}

impl CancelHook for Scheduler {
    fn revoke(&self, job: JobId) -> bool {
        blocking(|| self.await_revocation(job))
    }

    fn cancelled(self: Arc<Self>, job: JobId) {
        let mut state = self.lock();
        if let Some(at) = state.revoked.iter().position(|task| task.reply.is_of(job)) {
            // The task is skipped when it is first in the queue, unless other jobs wait for the call.
            let task = state.revoked.swap_remove(at);
            state.queue.push_front(task);
        }
        self.dispatch(state, EndedTasks::default());
        self.ended.notify_all();
    }
}
