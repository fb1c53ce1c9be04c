//! Threads that wait for stores, so that those of an async runtime need not.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    claim::WaitsHere,
    error::{Error, Result},
    job, starter,
};

/// At most so many threads wait for stores at a time; what comes beyond that queues.
const MOST_THREADS: usize = 8;
/// A thread without work ends after this time.
const KEPT: Duration = Duration::from_secs(10);

static STATE: Mutex<State> = Mutex::new(State { queue: VecDeque::new(), threads: 0, idle: 0 });
/// There is work.
static CHANGED: Condvar = Condvar::new();

struct State {
    queue: VecDeque<Work>,
    threads: usize,
    /// How many of them wait for work.
    idle: usize,
}

type Work = Box<dyn FnOnce() + Send>;

/// Runs the closure on a thread that may wait. It runs even if the future is dropped.
///
/// # Errors
/// What the closure says; a panic in it is one too.
pub(crate) async fn run<R: Send + 'static>(run: impl FnOnce() -> Result<R> + Send + 'static) -> Result<R> {
    let (completer, job) = job::channel();
    push(Box::new(move || completer.complete(job::catch(run))));
    let failed = Error::backend("a store");
    match job.await {
        Ok(Ok(result)) => result,
        Ok(Err(error)) | Err(error) => Err(failed(error)),
    }
}

fn push(work: Work) {
    let mut state = lock();
    state.queue.push_back(work);
    let start = state.queue.len() > state.idle && state.threads < MOST_THREADS;
    state.threads += usize::from(start);
    drop(state);
    CHANGED.notify_one();
    if start && starter::spawn("fleche-store", serve).is_err() {
        // Then others do it, or this thread has to.
        let mut state = lock();
        state.threads -= 1;
        let left = if state.threads == 0 { std::mem::take(&mut state.queue) } else { VecDeque::new() };
        drop(state);
        for work in left {
            work();
        }
    }
}

/// Does work until there has been none for a while.
fn serve() {
    let mut state = lock();
    loop {
        if let Some(work) = state.queue.pop_front() {
            drop(state);
            // The work catches its own panics; these are of wakers.
            if let Err(panic) = job::catch(work) {
                crate::log::error!(%panic, "a panic while a future was woken");
            }
            state = lock();
            continue;
        }
        state.idle += 1;
        let waits = WaitsHere::begin();
        let waited = CHANGED.wait_timeout_while(state, KEPT, |state| state.queue.is_empty());
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
        drop(waits);
        state.idle -= 1;
        if state.queue.is_empty() {
            state.threads -= 1;
            return;
        }
    }
}

/// No code of others runs under the lock, so it is never left half changed.
fn lock() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}
