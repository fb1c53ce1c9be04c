//! The thread that makes commits durable after a short delay. It runs only while there are changes that are not
//! durable.

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use fleche_core::store::kit::{LockResultExt as _, log, spawn};

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
#[derive(Default)]
pub(crate) struct Flusher {
    state: Mutex<State>,
    called: Condvar,
    /// Whether the thread will check again for pending changes. Modified under the lock.
    watching: AtomicBool,
    /// Whether the thread should commit without delay. Modified under the lock.
    flush_requested: AtomicBool,
}

#[derive(Default)]
struct State {
    stop: bool,
    thread: Option<JoinHandle<()>>,
}

impl Flusher {
    /// Ensures that pending changes become durable soon.
    pub(crate) fn schedule(inner: &Arc<impl Flush>) {
        if inner.flusher().watching.load(Ordering::Acquire) {
            return;
        }
        let mut state = inner.flusher().lock();
        if inner.flusher().watching.load(Ordering::Acquire) || state.stop {
            return;
        }
        let clone = Arc::clone(inner);
        match spawn("fleche-redb", move || clone.flusher().run(&*clone)) {
            Ok(thread) => {
                inner.flusher().watching.store(true, Ordering::Release);
                // The previous thread has nothing left to do and is about to end.
                state.thread = Some(thread);
            }
            Err(error) => {
                inner.flusher().flush_requested.store(false, Ordering::Relaxed);
                drop(state);
                log::warn!("cannot start the thread that makes commits durable later, so this is done now: {error}");
                inner.flush();
            }
        }
    }

    /// Ensures that pending changes are committed now, so that callers of `put` do not have to commit.
    pub(crate) fn flush_now(inner: &Arc<impl Flush>) {
        if inner.flusher().flush_requested.load(Ordering::Relaxed) {
            return;
        }
        {
            let _state = inner.flusher().lock();
            inner.flusher().flush_requested.store(true, Ordering::Relaxed);
        }
        Self::schedule(inner);
        inner.flusher().called.notify_all();
    }

    fn run(&self, inner: &impl Flush) {
        let mut delay = DELAY;
        loop {
            let state = self.lock();
            let waits = |state: &mut State| !state.stop && !self.flush_requested.load(Ordering::Relaxed);
            let (state, _) = self.called.wait_timeout_while(state, delay, waits).ignore_poison();
            self.flush_requested.store(false, Ordering::Relaxed);
            if state.stop {
                return;
            }
            drop(state);
            delay = if inner.flush() { DELAY } else { LONGEST_DELAY.min(2 * delay) };
            let state = self.lock();
            self.flush_requested.store(false, Ordering::Relaxed);
            self.watching.store(false, Ordering::Release);
            // Checked after `watching` is cleared: a `put` after that starts another thread.
            if state.stop || !inner.has_pending() {
                return;
            }
            self.watching.store(true, Ordering::Release);
        }
    }

    /// Ends the thread, and prevents another one.
    pub(crate) fn stop(&self) {
        let thread = {
            let mut state = self.lock();
            state.stop = true;
            state.thread.take()
        };
        self.called.notify_all();
        if let Some(thread) = thread {
            // The thread does not panic. If it did, closing would make everything durable.
            let _ = thread.join();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().ignore_poison()
    }
}
