//! The blocking pool: threads that wait for stores, so that the threads of an async runtime do not block.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    claim::WaitsHere,
    error::{Error, Result},
    job, starter,
};

/// The most threads that wait for one store at a time; further operations are queued. A store that does not answer thus
/// does not delay other stores.
const THREADS_PER_STORE: usize = 8;
/// The most threads that wait for stores at a time.
const THREADS: usize = 64;
/// A thread ends after this time without work.
const KEPT: Duration = Duration::from_secs(10);

static STATE: LazyLock<Mutex<State>> = LazyLock::new(Mutex::default);
/// Notified when there is work.
static CHANGED: Condvar = Condvar::new();

#[derive(Default)]
struct State {
    stores: HashMap<usize, Line>,
    /// The store of each operation that may begin now, in order.
    ready: VecDeque<usize>,
    threads: usize,
    /// How many of them wait for work.
    idle: usize,
}

/// The pending and running work of one store.
#[derive(Default)]
struct Line {
    queue: VecDeque<Work>,
    /// How many of the queued operations may begin now.
    ready: usize,
    running: usize,
}

type Work = Box<dyn FnOnce() + Send>;

impl State {
    fn push(&mut self, store: usize, work: Work) {
        self.stores.entry(store).or_default().queue.push_back(work);
        self.admit(store);
    }

    /// Marks the next queued operation of this store as ready if the store's limit permits it.
    fn admit(&mut self, store: usize) {
        let Some(line) = self.stores.get_mut(&store) else { return };
        if line.ready < line.queue.len() && line.ready + line.running < THREADS_PER_STORE {
            line.ready += 1;
            self.ready.push_back(store);
        }
    }

    fn begin(&mut self) -> Option<(usize, Work)> {
        let store = self.ready.pop_front()?;
        let line = self.stores.get_mut(&store)?;
        line.ready -= 1;
        line.running += 1;
        Some((store, line.queue.pop_front()?))
    }

    fn end(&mut self, store: usize) {
        let Some(line) = self.stores.get_mut(&store) else { return };
        line.running -= 1;
        if line.running == 0 && line.queue.is_empty() {
            self.stores.remove(&store);
        }
        self.admit(store);
    }
}

/// Runs the closure, which uses this store, on a thread that may block. It runs even if the future is dropped.
///
/// # Errors
/// The error of the closure; [`Error::Backend`] if it panics.
pub(crate) async fn run<R: Send + 'static>(
    store: usize,
    run: impl FnOnce() -> Result<R> + Send + 'static,
) -> Result<R> {
    let (completer, job) = job::channel();
    push(store, Box::new(move || completer.complete(job::catch(run))));
    let failed = Error::backend("a store");
    match job.await {
        Ok(Ok(result)) => result,
        Ok(Err(error)) | Err(error) => Err(failed(error)),
    }
}

fn push(store: usize, work: Work) {
    let mut state = lock();
    state.push(store, work);
    let start = state.ready.len() > state.idle && state.threads < THREADS;
    state.threads += usize::from(start);
    drop(state);
    CHANGED.notify_one();
    if start && starter::spawn("fleche-store", serve).is_err() {
        let mut state = lock();
        state.threads -= 1;
        // The existing threads do the work; if there are none, this thread has to.
        while state.threads == 0
            && let Some((store, work)) = state.begin()
        {
            drop(state);
            work();
            state = lock();
            state.end(store);
        }
    }
}

/// Runs queued operations. Returns after [`KEPT`] without any.
fn serve() {
    let mut state = lock();
    loop {
        if let Some((store, work)) = state.begin() {
            drop(state);
            // The operation catches its own panics; these come from wakers.
            if let Err(panic) = job::catch(work) {
                crate::log::error!(%panic, "the waker of a future panicked");
            }
            state = lock();
            state.end(store);
            continue;
        }
        state.idle += 1;
        let waits = WaitsHere::begin();
        let waited = CHANGED.wait_timeout_while(state, KEPT, |state| state.ready.is_empty());
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
        drop(waits);
        state.idle -= 1;
        if state.ready.is_empty() {
            state.threads -= 1;
            return;
        }
    }
}

/// No user code runs under the lock, so a panic cannot leave the state inconsistent.
fn lock() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}
