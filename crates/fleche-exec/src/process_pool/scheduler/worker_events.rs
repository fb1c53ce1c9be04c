//! Handles what the workers of a pool report.

use std::{
    os::unix::process::ExitStatusExt,
    process::{Child, ExitStatus},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use fleche_core::{CallKey, JobError, encoding};

use super::{Ended, Scheduler, State};
use crate::process_pool::{
    claim_permits::ClaimPermits,
    frame::{self, Frame},
};

/// The number of consecutive workers with the same environment that must fail to start before the tasks that wait for
/// such a worker are refused.
const MAX_FAILED_STARTS: usize = 3;

impl Scheduler {
    /// Notes that a worker runs the same program as the pool.
    pub(in crate::process_pool) fn ready(&self, worker: u64) {
        let State { hands, failed_starts, .. } = &mut *self.lock();
        if let Some(hand) = hands.iter().find(|hand| hand.id == worker) {
            failed_starts.remove(hand.env());
        }
    }

    pub(in crate::process_pool) fn started(self: &Arc<Self>, worker: u64, number: u64, rights: &ClaimPermits) {
        let mut state = self.lock();
        state.stats.started += 1;
        let Some(hand) = state.hands.iter_mut().find(|hand| hand.id == worker) else { return };
        let (deadline, parts) = hand.started(number, rights);
        if let Some(deadline) = deadline {
            self.watch(&mut state, deadline, worker, number);
        }
        drop(state);
        // Dropping the arguments may take a while.
        drop(parts);
    }

    /// Notes that a worker's task begins to wait, for this call or for something else. Other tasks may run in its
    /// place.
    pub(in crate::process_pool) fn paused(self: &Arc<Self>, worker: u64, call: Option<CallKey>) {
        let mut state = self.lock();
        let State { hands, free, .. } = &mut *state;
        if let Some(hand) = hands.iter_mut().find(|hand| hand.id == worker) {
            free.give_back_cores(hand.pause(call));
        }
        self.dispatch(state, Ended::default());
    }

    /// Notes that a worker's task resumes. For a while, more workers may run than the pool's size.
    pub(in crate::process_pool) fn resumed(&self, worker: u64) {
        let mut state = self.lock();
        let State { hands, free, stand_ins, .. } = &mut *state;
        stand_ins.worker_resumed();
        if let Some(hand) = hands.iter_mut().find(|hand| hand.id == worker) {
            free.take_cores(hand.resume());
        }
    }

    /// Handles the end of a task. The frame holds its duration and the counters.
    pub(in crate::process_pool) fn done(
        self: &Arc<Self>,
        worker: u64,
        frame: &Frame,
        outcome: Result<Bytes, JobError>,
    ) {
        let (number, took) = (frame.number, Duration::from_nanos(frame::number(&frame.part(0))));
        let mut state = self.lock();
        let State { hands, free, .. } = &mut *state;
        let mut task = None;
        if let Some(hand) = hands.iter_mut().find(|hand| hand.id == worker) {
            task = hand.done(number, took);
            if let Some(mut grant) = hand.grant_back() {
                free.give_back(&mut grant);
            }
        }
        if let Some((_, Some(deadline))) = &task {
            self.kept(&mut state, *deadline, number);
        }
        self.dispatch(state, Ended::default());
        if let Some((task, _)) = task {
            if let (Some(binding), Ok(counted)) = (&task.binding, encoding::from_slice(&frame.part(1))) {
                binding.cache().merge_stats(&counted);
            }
            self.end(task, outcome);
        }
    }

    pub(in crate::process_pool) fn revoked(self: &Arc<Self>, worker: u64, asked: u64, numbers: &[u64]) {
        let mut state = self.lock();
        let mut ended = Ended::default();
        let State { hands, free, .. } = &mut *state;
        if let Some(hand) = hands.iter_mut().find(|hand| hand.id == worker) {
            let back = hand.revoked(asked, numbers);
            if let Some(mut grant) = hand.grant_back() {
                free.give_back(&mut grant);
            }
            self.requeue_returned(&mut state, back, &mut ended);
        }
        self.dispatch(state, ended);
    }

    /// Handles the death of a worker: its started task is lost or retried, and its other tasks go to other workers.
    pub(in crate::process_pool) fn gone(self: &Arc<Self>, worker: u64, mut child: Child, ready: bool) {
        let mut state = self.lock();
        // Under the same lock as killing: once the worker is reaped, its process id may belong to another process.
        let status = child.wait();
        let Some(at) = state.hands.iter().position(|hand| hand.id == worker) else { return };
        let hand = state.hands.swap_remove(at);
        self.forget(&mut state, worker);
        let killed = hand.is_ending();
        if !killed {
            state.stats.lost += 1;
        }
        let mut ended = Ended::default();
        let env = hand.env().clone();
        let mut left = hand.into_left();
        state.free.give_back(&mut left.grant);
        self.requeue_returned(&mut state, left.back, &mut ended);
        for mut task in left.started {
            if !killed && task.wants.retries > 0 {
                task.wants.retries -= 1;
                state.waiting.push_front(task.anew());
            } else {
                let status = status.as_ref().ok();
                let (signal, code) = (status.and_then(ExitStatusExt::signal), status.and_then(ExitStatus::code));
                ended.add([task], &JobError::WorkerLost { signal, code });
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
                ended.add(state.take_waiting(&env), &JobError::rejected(why));
            }
        }
        self.dispatch(state, ended);
        self.ended.notify_all();
    }
}
