//! The thread that makes commits durable a little later, there only while something is not yet durable.

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use fleche_core::{log::Throttle, starter};

use crate::database::Inner;

/// How long what is put first waits for others. Making it durable takes a while as well; both together are to stay below
/// 100 ms.
const DELAY: Duration = Duration::from_millis(60);

/// The same where it fails again and again, as on a full disk.
const LONGEST_DELAY: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(crate) struct Flusher {
    state: Mutex<State>,
    called: Condvar,
    /// Whether the thread will look again at whether something is pending. Changed under the lock.
    watching: AtomicBool,
    /// Whether it is not to wait for others before it does. Changed under the lock.
    hurried: AtomicBool,
}

#[derive(Default)]
struct State {
    stop: bool,
    thread: Option<JoinHandle<()>>,
}

impl Flusher {
    /// Sees to it that what is pending becomes durable soon.
    pub(crate) fn see_to(inner: &Arc<Inner>) {
        if inner.flusher.watching.load(Ordering::Acquire) {
            return;
        }
        let mut state = inner.flusher.lock();
        if inner.flusher.watching.load(Ordering::Acquire) || state.stop {
            return;
        }
        let clone = Arc::clone(inner);
        match starter::spawn("fleche-redb", move || clone.flusher.run(&clone)) {
            Ok(thread) => {
                inner.flusher.watching.store(true, Ordering::Release);
                // The one before has nothing left to do but to end.
                state.thread = Some(thread);
            }
            Err(error) => {
                inner.flusher.hurried.store(false, Ordering::Relaxed);
                drop(state);
                fleche_core::log::warn!("no thread to make commits durable later, so it is done now: {error}");
                inner.flush();
            }
        }
    }

    /// Sees to it that what is pending is committed now, so that nobody who puts more has to do it.
    pub(crate) fn hurry(inner: &Arc<Inner>) {
        if inner.flusher.hurried.load(Ordering::Relaxed) {
            return;
        }
        {
            let _state = inner.flusher.lock();
            inner.flusher.hurried.store(true, Ordering::Relaxed);
        }
        Self::see_to(inner);
        inner.flusher.called.notify_all();
    }

    fn run(&self, inner: &Inner) {
        let mut delay = DELAY;
        loop {
            let state = self.lock();
            let waits = |state: &mut State| !state.stop && !self.hurried.load(Ordering::Relaxed);
            let (state, _) =
                self.called.wait_timeout_while(state, delay, waits).unwrap_or_else(PoisonError::into_inner);
            self.hurried.store(false, Ordering::Relaxed);
            if state.stop {
                return;
            }
            drop(state);
            delay = if inner.flush() { DELAY } else { LONGEST_DELAY.min(2 * delay) };
            let state = self.lock();
            self.hurried.store(false, Ordering::Relaxed);
            self.watching.store(false, Ordering::Release);
            // Looked at after that: who puts something later sees that nobody watches, or hurries.
            if state.stop || !inner.has_pending() {
                return;
            }
            self.watching.store(true, Ordering::Release);
        }
    }

    /// Returns when the thread is gone; there will be no other.
    pub(crate) fn stop(&self) {
        let thread = {
            let mut state = self.lock();
            state.stop = true;
            state.thread.take()
        };
        self.called.notify_all();
        if let Some(thread) = thread {
            // It does not panic; if it did, the one who closes makes everything durable.
            let _ = thread.join();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Whether what is pending was made durable.
    fn flush(&self) -> bool {
        let durable = self.make_durable(self.pending.sequence());
        durable
            .inspect_err(|error| {
                static FAULTS: Throttle = Throttle::new();
                fleche_core::log::warn_rarely!(&FAULTS, error.kind(), "what was put may not survive: {error}");
            })
            .is_ok()
    }
}
