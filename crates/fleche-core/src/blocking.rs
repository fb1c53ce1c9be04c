//! Threads that wait for stores, so that those of an async runtime need not.

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

/// The most threads that wait for one store at a time; further work is queued. So a store that does not answer does not delay
/// other stores.
const THREADS_PER_STORE: usize = 8;
/// The most threads that wait for stores at a time.
const THREADS: usize = 64;
/// A thread without work ends after this time.
const KEPT: Duration = Duration::from_secs(10);

static STATE: LazyLock<Mutex<State>> = LazyLock::new(Mutex::default);
/// Notified when there is work.
static CHANGED: Condvar = Condvar::new();

#[derive(Default)]
struct State {
    stores: HashMap<usize, Line>,
    /// The store of each piece of work that may begin now.
    ready: VecDeque<usize>,
    threads: usize,
    /// How many of them wait for work.
    idle: usize,
}

/// The pending and running work of one store.
#[derive(Default)]
struct Line {
    queue: VecDeque<Work>,
    /// How much of the queue may begin now.
    ready: usize,
    running: usize,
}

type Work = Box<dyn FnOnce() + Send>;

impl State {
    fn push(&mut self, store: usize, work: Work) {
        self.stores.entry(store).or_default().queue.push_back(work);
        self.admit(store);
    }

    /// Lets the next work with this store begin, if there are threads for it.
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

/// Runs the closure, which asks this store, on a thread that may wait. It runs even if the future is dropped.
///
/// # Errors
/// What the closure says; a panic in it is one too.
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
        // Then others do it, or this thread has to.
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

/// Does work until there has been none for a while.
fn serve() {
    let mut state = lock();
    loop {
        if let Some((store, work)) = state.begin() {
            drop(state);
            // The work catches its own panics; these are of wakers.
            if let Err(panic) = job::catch(work) {
                crate::log::error!(%panic, "a panic while a future was woken");
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

/// No code of others runs under the lock, so it is never left half changed.
fn lock() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}
