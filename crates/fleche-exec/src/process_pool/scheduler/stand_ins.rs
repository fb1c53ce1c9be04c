//! Stand-ins, workers that run tasks in the place of waiting ones: how many there may be, and how long they are kept.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Scheduler, State};
use crate::process_pool::worker_handle::WorkerHandle;

/// The maximum number of stand-ins at the same time.
const MOST: usize = 64;
/// The time for which an unneeded stand-in is kept, so that waits that follow one another share one process.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// The interval after which one more worker starts while fewer run than could: the waiting workers may need a task that
/// is queued.
const STEP: Duration = Duration::from_secs(1);

/// The state of stand-ins.
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

impl Scheduler {
    /// Returns how many workers there may be.
    ///
    /// A waiting worker has a stand-in. Workers that wait for the same call share one: further ones would most likely
    /// wait for that call too.
    pub(super) fn room(&self, state: &State) -> usize {
        let paused = || state.hands.iter().filter(|hand| hand.is_paused());
        let calls: HashSet<_> = paused().filter_map(WorkerHandle::awaited_call).collect();
        let others = paused().filter(|hand| hand.awaited_call().is_none()).count();
        self.limit + (calls.len() + others + state.stand_ins.more).min(paused().count()).min(MOST)
    }

    /// Allows one more stand-in if a queued task has been held up for too long.
    pub(super) fn note_stalled_queue(&self, state: &mut State) {
        let held_up = state.hands.iter().any(WorkerHandle::is_paused)
            && !state.hands.iter().any(WorkerHandle::is_idle)
            && state.hands.iter().filter(|hand| hand.is_running()).count() < self.limit
            && state.waiting.front().is_some_and(|task| state.free.has(task.wants.demand));
        let (now, stand_ins) = (Instant::now(), &mut state.stand_ins);
        stand_ins.held_up = held_up.then(|| *stand_ins.held_up.get_or_insert(now));
        if stand_ins.held_up.is_some_and(|since| now.duration_since(since) >= STEP) {
            stand_ins.more = (stand_ins.more + 1).min(MOST);
            stand_ins.held_up = Some(now);
        }
    }

    /// Ends stand-ins that have not been needed for a while, and schedules the next check if one is due.
    pub(super) fn review_stand_ins(self: &Arc<Self>, state: &mut State) {
        self.note_stalled_queue(state);
        let now = Instant::now();
        let kept = state.hands.iter().filter(|hand| !hand.is_ending()).count();
        let surplus = kept.saturating_sub(self.room(state));
        let since = (surplus > 0).then(|| *state.stand_ins.surplus.get_or_insert(now));
        state.stand_ins.surplus = since;
        if since.is_some_and(|since| now.duration_since(since) >= KEEP_ALIVE) {
            state.hands.iter_mut().filter(|hand| hand.is_idle()).take(surplus).for_each(WorkerHandle::end);
            // The other stand-ins are busy and are checked again later.
            state.stand_ins.surplus = Some(now);
        }
        let step = state.stand_ins.held_up.map(|since| since + STEP);
        let end = state.stand_ins.surplus.map(|since| since + KEEP_ALIVE);
        self.look_again(state, step.into_iter().chain(end).min());
    }
}
