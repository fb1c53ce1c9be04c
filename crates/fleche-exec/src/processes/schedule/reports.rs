//! What a schedule hears of its workers.

use std::{mem, sync::Arc, time::Duration};

use bytes::Bytes;
use fleche_core::{JobError, encoding};

use super::{Ended, Schedule, State};
use crate::processes::frame::{self, Frame};

/// So many workers in a row may fail to start before what waits is refused.
const STILLBORN: usize = 3;

impl Schedule {
    /// A worker has shown to be the same program.
    pub(in crate::processes) fn ready(&self) {
        self.lock().stillborn = 0;
    }

    pub(in crate::processes) fn started(self: &Arc<Self>, worker: u64, number: u64) {
        let mut state = self.lock();
        state.stats.started += 1;
        let Some(hand) = state.hands.iter_mut().find(|hand| hand.id == worker) else { return };
        let (deadline, parts) = hand.started(number);
        if let Some(deadline) = deadline {
            self.watch(&mut state, deadline, worker, number);
        }
        drop(state);
        // Arguments may take a while to let go.
        drop(parts);
    }

    /// A task has ended. The frame says how long it took, and what was counted.
    pub(in crate::processes) fn done(self: &Arc<Self>, worker: u64, frame: &Frame, outcome: Result<Bytes, JobError>) {
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
                binding.cache().count_elsewhere(&counted);
            }
            task.reply.keep(outcome);
        }
    }

    pub(in crate::processes) fn taken_back(self: &Arc<Self>, worker: u64, numbers: &[u64]) {
        let mut state = self.lock();
        let mut ended = Ended::default();
        let State { hands, waiting, free, .. } = &mut *state;
        if let Some(hand) = hands.iter_mut().find(|hand| hand.id == worker) {
            let (cancelled, rest) = hand.taken_back(numbers);
            ended.add(cancelled, &JobError::Cancelled);
            rest.into_iter().rev().for_each(|task| waiting.push_front(task));
            if let Some(mut grant) = hand.grant_back() {
                free.give_back(&mut grant);
            }
        }
        self.dispatch(state, ended);
    }

    /// A worker is gone: what it had started is lost or starts anew, the rest goes to others.
    pub(in crate::processes) fn gone(self: &Arc<Self>, worker: u64, signal: Option<i32>, ready: bool, how: &str) {
        let mut state = self.lock();
        let Some(at) = state.hands.iter().position(|hand| hand.id == worker) else { return };
        let hand = state.hands.swap_remove(at);
        self.forget(&mut state, worker);
        let killed = hand.is_ending();
        if !killed {
            state.stats.lost += 1;
        }
        let mut ended = Ended::default();
        let mut left = hand.into_left();
        state.free.give_back(&mut left.grant);
        ended.add(left.cancelled, &JobError::Cancelled);
        for task in left.rest.into_iter().rev() {
            state.waiting.push_front(task);
        }
        for mut task in left.started {
            if !killed && task.wants.retries > 0 {
                task.wants.retries -= 1;
                state.waiting.push_front(task);
            } else {
                ended.add([task], &JobError::WorkerLost { signal });
            }
        }
        state.stillborn = if ready { 0 } else { state.stillborn + 1 };
        if state.stillborn >= STILLBORN {
            let why = format!("workers end before they take a task ({how}); see what they write to stderr");
            ended.add(mem::take(&mut state.waiting), &JobError::rejected(why));
        }
        self.dispatch(state, ended);
        self.ended.notify_all();
    }
}
