//! Timers: one thread per process wakes wakers at given times.

use std::{
    collections::BTreeMap,
    sync::{Condvar, Mutex, MutexGuard},
    task::Waker,
    time::{Duration, Instant},
};

use super::{fork, internal_threads::WaiterThreadGuard, lock::LockResultExt, panics::carry, thread_spawner};

static STATE: Mutex<State> = Mutex::new(State { wakers: BTreeMap::new(), next: 0, is_running: false });
/// Notified when the earliest time has changed.
static CHANGED: Condvar = Condvar::new();
/// The time without a timer after which the thread ends.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

struct State {
    wakers: BTreeMap<(Instant, u64), Waker>,
    next: u64,
    /// Whether the timer thread runs.
    is_running: bool,
}

fn lock() -> MutexGuard<'static, State> {
    STATE.lock().ignore_poison()
}

/// A waker that will be woken at a given time. Dropping this cancels it.
#[must_use = "dropping it cancels the timer"]
pub(crate) struct Timer {
    at: Instant,
    number: u64,
}

impl Drop for Timer {
    fn drop(&mut self) {
        if fork::is_child() {
            return;
        }
        let waker = lock().wakers.remove(&(self.at, self.number));
        // After the lock: the last waker of a task drops the task.
        drop(waker);
    }
}

/// Wakes the waker at this time or soon after it. Wakes it at once if the timer thread cannot be started.
pub(crate) fn set(at: Instant, waker: &Waker) -> Timer {
    let mut state = lock();
    state.next += 1;
    let number = state.next;
    let earliest = state.wakers.first_key_value().is_none_or(|((first, _), _)| at < *first);
    state.wakers.insert((at, number), waker.clone());
    if !state.is_running {
        state.is_running = thread_spawner::spawn("fleche-alarm", run_timer).is_ok();
    } else if earliest {
        CHANGED.notify_one();
    }
    if !state.is_running {
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        wakers.into_values().for_each(Waker::wake);
    }
    Timer { at, number }
}

/// Wakes wakers as they become due. Returns after [`KEEP_ALIVE`] without any.
fn run_timer() {
    let _waits = WaiterThreadGuard::begin();
    let mut state = lock();
    loop {
        let now = Instant::now();
        let next = state.wakers.first_key_value().map(|((at, _), _)| at.saturating_duration_since(now));
        if next.is_some_and(|left| left.is_zero())
            && let Some((_, waker)) = state.wakers.pop_first()
        {
            drop(state);
            if let Err(panic) = carry(|| waker.wake()) {
                let (message, location) = panic.into_text();
                crate::runtime::log::error!(%message, ?location, "the waker of a future panicked");
            }
            state = lock();
            continue;
        }
        let waited = CHANGED.wait_timeout(state, next.unwrap_or(KEEP_ALIVE)).ignore_poison();
        state = waited.0;
        if waited.1.timed_out() && state.wakers.is_empty() {
            state.is_running = false;
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, mpsc},
        task::Wake,
    };

    use super::*;

    struct RecordedWake(mpsc::Sender<(u32, Instant)>, u32);

    impl Wake for RecordedWake {
        fn wake(self: Arc<Self>) {
            let _ = self.0.send((self.1, Instant::now()));
        }
    }

    #[test]
    fn timers_fire_in_order_and_never_early() {
        let (sender, rung) = mpsc::channel();
        let now = Instant::now();
        let at = |number: u32| now + Duration::from_millis(20) * number;
        let alarms =
            [3, 1, 2].map(|number| set(at(number), &Waker::from(Arc::new(RecordedWake(sender.clone(), number)))));
        for number in 1..=3 {
            let (found, when) = rung.recv().unwrap();
            assert_eq!(found, number);
            assert!(when >= at(number));
        }
        drop(alarms);
    }

    #[test]
    fn cancelled_timer_drops_its_waker() {
        let ring = Arc::new(RecordedWake(mpsc::channel().0, 0));
        let alarm = set(Instant::now() + Duration::from_hours(1), &Waker::from(ring.clone()));
        assert_eq!(Arc::strong_count(&ring), 2);
        drop(alarm);
        assert_eq!(Arc::strong_count(&ring), 1);
    }
}
