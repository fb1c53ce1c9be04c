//! The thread that makes commits durable after a short delay. It runs only while there are changes that are not
//! durable.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use fleche_core::{
    spi::{BackgroundThreads, Next},
    store::kit::log,
};

/// The time that the first pending entry waits for more entries. This delay and the commit together should stay below
/// 100 ms.
const DELAY: Duration = Duration::from_millis(60);

/// The maximum delay if commits keep failing, for example on a full disk.
const LONGEST_DELAY: Duration = Duration::from_secs(1);

/// A database with changes that are made durable later.
pub(crate) trait Flush: Send + Sync + 'static {
    /// Returns the flusher of this database.
    fn flusher(&self) -> &Flusher;

    /// Makes pending changes durable. Returns whether that succeeded.
    fn flush(&self) -> bool;

    /// Returns whether there are changes that are not durable.
    fn has_pending(&self) -> bool;
}

/// The thread that makes commits durable, and its state.
pub(crate) struct Flusher(Arc<BackgroundThreads<State>>);

struct State {
    /// The time of the next commit, or `None` if the thread will not check again for pending changes.
    due: Option<Instant>,
    /// The delay before the next commit that is not requested earlier.
    delay: Duration,
    is_stopped: bool,
}

impl Flusher {
    /// Ensures that pending changes become durable soon.
    pub(crate) fn schedule(inner: &Arc<impl Flush>) {
        Self::schedule_within(inner, DELAY);
    }

    /// Ensures that pending changes are committed now, so that callers of `put` do not have to commit.
    pub(crate) fn flush_now(inner: &Arc<impl Flush>) {
        Self::schedule_within(inner, Duration::ZERO);
    }

    fn schedule_within(inner: &Arc<impl Flush>, delay: Duration) {
        let threads = &inner.flusher().0;
        let mut state = threads.lock();
        let at = Instant::now() + delay;
        if state.is_stopped || state.due.is_some_and(|due| delay > Duration::ZERO || due <= at) {
            return;
        }
        state.due = Some(at);
        let to_flush = inner.clone();
        let step = move |state: &mut State| match state.due {
            Some(at) if !state.is_stopped && at > Instant::now() => Next::WaitUntil(at),
            Some(now) if !state.is_stopped => {
                // Until the commit has ended, or if it panics.
                state.due = Some(now + LONGEST_DELAY);
                let inner = to_flush.clone();
                Next::Work(move || flush(&*inner))
            }
            _ => Next::End,
        };
        if let Err(error) = BackgroundThreads::wake(threads.clone(), &mut state, step) {
            state.due = None;
            drop(state);
            log::warn!("cannot start the thread that makes commits durable later, so this is done now: {error}");
            inner.flush();
        }
    }

    /// Ends the thread, and prevents another one.
    pub(crate) fn stop(&self) {
        self.0.lock().is_stopped = true;
        self.0.join();
    }
}

impl Default for Flusher {
    fn default() -> Self {
        let state = State { due: None, delay: DELAY, is_stopped: false };
        Self(Arc::new(BackgroundThreads::one("fleche-redb", state)))
    }
}

/// Commits, and schedules the next commit if there are further changes.
fn flush(inner: &impl Flush) {
    let succeeded = inner.flush();
    let mut state = inner.flusher().0.lock();
    state.delay = if succeeded { DELAY } else { LONGEST_DELAY.min(2 * state.delay) };
    // Under the lock: a `put` after this schedules another commit.
    state.due = inner.has_pending().then(|| Instant::now() + state.delay);
}
