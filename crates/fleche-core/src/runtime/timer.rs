//! Timers: one thread per process wakes wakers at given times.

use std::{collections::BTreeMap, task::Waker, time::Instant};

use super::{
    background_threads::{BackgroundThreads, Next},
    fork,
    panics::carry,
};

static TIMER: BackgroundThreads<Wakers> =
    BackgroundThreads::one("fleche-timer", Wakers { due: BTreeMap::new(), next: 0 });

/// The wakers by their times, and by numbers that tell apart those of the same time.
struct Wakers {
    due: BTreeMap<(Instant, u64), Waker>,
    next: u64,
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
        let waker = TIMER.lock().due.remove(&(self.at, self.number));
        // After the lock: the last waker of a task drops the task.
        drop(waker);
    }
}

/// Wakes the waker at this time or soon after it. Wakes it at once if the timer thread cannot be started.
pub(crate) fn set(at: Instant, waker: &Waker) -> Timer {
    let mut wakers = TIMER.lock();
    wakers.next += 1;
    let number = wakers.next;
    let is_earliest = wakers.due.first_key_value().is_none_or(|((first, _), _)| at < *first);
    wakers.due.insert((at, number), waker.clone());
    if is_earliest && BackgroundThreads::wake(&TIMER, &mut wakers, next_waker).is_err() {
        let all = std::mem::take(&mut wakers.due);
        drop(wakers);
        all.into_values().for_each(Waker::wake);
    }
    Timer { at, number }
}

/// Takes the next waker that is due.
fn next_waker(wakers: &mut Wakers) -> Next<impl FnOnce() + use<>> {
    let Some(entry) = wakers.due.first_entry() else { return Next::Idle };
    let (at, _) = *entry.key();
    if at > Instant::now() {
        return Next::WaitUntil(at);
    }
    let waker = entry.remove();
    Next::Work(|| {
        if let Err(panic) = carry(|| waker.wake()) {
            let (message, location) = panic.into_text();
            crate::runtime::log::error!(%message, ?location, "the waker of a future panicked");
        }
    })
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, mpsc},
        task::Wake,
        time::Duration,
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
