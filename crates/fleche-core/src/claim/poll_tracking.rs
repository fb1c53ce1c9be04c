//! Tracks whether the leader of an async call is polled, through the leader's waker.
//!
//! A task may hold the leading future without polling it, as `select!` on a `&mut future` does. Then the result never
//! arrives. A leader that awaits a timer or a socket looks the same until it is woken. Therefore a leader counts as
//! held only if it was woken and is not polled.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    task::{Wake, Waker},
    time::Instant,
};

use super::sync::LockResultExt;

/// The record of a leader's polls.
#[derive(Default)]
pub struct Polls(Mutex<State>);

#[derive(Default)]
struct State {
    /// The waker of the task that polled the leader last.
    task: Option<Waker>,
    /// The number of times that the leader was polled.
    count: u64,
    /// The time at which the leader was first woken since the last poll.
    woken: Option<Instant>,
}

/// A leader that was woken and has not been polled since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unpolled {
    /// The number of times that the leader had been polled when it was woken.
    pub after: u64,
    /// The time at which the leader was woken.
    pub woken: Instant,
}

impl Polls {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().ignore_poison()
    }

    /// Notes that the task of this waker polls the leader.
    pub fn begin(&self, task: &Waker) {
        let mut state = self.lock();
        state.count += 1;
        state.woken = None;
        let known = state.task.as_ref().is_some_and(|known| known.will_wake(task));
        let before = if known { None } else { state.task.replace(task.clone()) };
        drop(state);
        // After the lock: the last waker of a task drops the task.
        drop(before);
    }

    /// Records that the leader has ended, or no longer needs to be polled.
    pub fn end(&self) {
        let mut state = self.lock();
        state.woken = None;
        let before = state.task.take();
        drop(state);
        drop(before);
    }

    /// Returns the first wake-up of the leader after its last poll. Returns `None` if it was not woken since then, or
    /// has ended.
    pub fn unpolled(&self) -> Option<Unpolled> {
        let state = self.lock();
        state.woken.filter(|_| state.task.is_some()).map(|woken| Unpolled { after: state.count, woken })
    }

    /// Returns whether the task of this waker is the one that polls the leader.
    pub fn is_of(&self, task: &Waker) -> bool {
        let state = self.lock();
        // A no-op waker identifies no task.
        state.task.as_ref().is_some_and(|known| known.will_wake(task)) && !Waker::noop().will_wake(task)
    }
}

/// The waker that a leader is polled with: records that it was called, and wakes the task.
struct TrackingWaker {
    polls: Arc<Polls>,
    task: Waker,
}

impl Wake for TrackingWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.polls.lock().woken.get_or_insert_with(Instant::now);
        self.task.wake_by_ref();
    }
}

/// Returns a waker for polling a leader, which wakes this task.
pub(crate) fn tracking_waker(polls: &Arc<Polls>, task: &Waker) -> Waker {
    Waker::from(Arc::new(TrackingWaker { polls: polls.clone(), task: task.clone() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    impl Wake for Nothing {
        fn wake(self: Arc<Self>) {}
    }

    #[test]
    fn woken_leader_is_unpolled_until_its_next_poll() {
        let (polls, task) = (Arc::new(Polls::default()), Waker::from(Arc::new(Nothing)));
        polls.begin(&task);
        assert_eq!(polls.unpolled(), None);
        let waker = tracking_waker(&polls, &task);
        waker.wake_by_ref();
        let unpolled = polls.unpolled().unwrap();
        waker.wake();
        assert_eq!(polls.unpolled(), Some(unpolled));
        polls.begin(&task);
        assert_eq!(polls.unpolled(), None);
        tracking_waker(&polls, &task).wake();
        assert_eq!(polls.unpolled().unwrap().after, unpolled.after + 1);
        polls.end();
        assert_eq!(polls.unpolled(), None);
    }

    #[test]
    fn task_is_identified_by_its_waker() {
        let polls = Polls::default();
        let [one, other] = [(); 2].map(|()| Waker::from(Arc::new(Nothing)));
        polls.begin(&one);
        assert!(polls.is_of(&one) && !polls.is_of(&other));
        polls.begin(Waker::noop());
        assert!(!polls.is_of(Waker::noop()));
    }
}
