//! The request pool: threads of the pool's process for the store requests of workers, and for other long work.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    time::Duration,
};

use fleche_core::spi::{LockResultExt, catch_panic, thread_spawner};

/// Threads for work that may take a long time: store requests of workers, and ends of jobs that have callbacks. Another
/// thread starts when all are busy, so that no work waits for other work. Idle threads end.
#[derive(Default)]
pub(super) struct RequestPool {
    state: Mutex<State>,
    more: Condvar,
}

#[derive(Default)]
struct State {
    work: VecDeque<Work>,
    idle: usize,
    /// Whether a new thread has yet to take its first work.
    is_starting: bool,
}

type Work = Box<dyn FnOnce() + Send>;

/// The time after which an idle thread ends.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

impl RequestPool {
    /// Runs this work on one of the threads, at any time.
    pub(super) fn serve(self: &Arc<Self>, work: Work) {
        let mut state = self.lock();
        state.work.push_back(work);
        if !self.ensure_next_thread(state) {
            // No thread can be started, so this one does the work.
            while let Some(work) = { self.lock().work.pop_front() } {
                run(work);
            }
        }
    }

    /// Ensures that another thread takes the next work, if there is any. Returns whether that is ensured.
    ///
    /// Each thread calls this when it takes work. Long work thus always has another thread behind it, while short work
    /// that arrives in thousands is done by few threads.
    fn ensure_next_thread(self: &Arc<Self>, mut state: MutexGuard<'_, State>) -> bool {
        if state.work.is_empty() || state.is_starting {
            return true;
        }
        if state.idle > 0 {
            drop(state);
            self.more.notify_one();
            return true;
        }
        state.is_starting = true;
        drop(state);
        let servers = self.clone();
        let started = thread_spawner::spawn(THREAD, move || servers.work());
        if started.is_err() {
            self.lock().is_starting = false;
        }
        started.is_ok()
    }

    fn work(self: &Arc<Self>) {
        let mut state = self.lock();
        state.is_starting = false;
        loop {
            state.idle += 1;
            let waited = self.more.wait_timeout_while(state, KEEP_ALIVE, |state| state.work.is_empty());
            state = waited.ignore_poison().0;
            state.idle -= 1;
            let Some(work) = state.work.pop_front() else { return };
            self.ensure_next_thread(state);
            run(work);
            state = self.lock();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().ignore_poison()
    }
}

fn run(work: Work) {
    if let Err(panic) = catch_panic(work) {
        fleche_core::spi::log::error!(%panic, "a store or a callback panicked on a thread of a process pool; the thread continues");
    }
}

/// The name of the threads of process pools.
pub(super) const THREAD: &str = "fleche-worker";

/// Returns whether the current thread belongs to a process pool.
pub(super) fn is_own_thread() -> bool {
    std::thread::current().name() == Some(THREAD)
}
