//! The request pool: threads for the requests of clients, and for other long work.

use std::{collections::VecDeque, io, sync::Arc};

use fleche_core::spi::{BackgroundThreads, Locked, Next, catch_panic};

/// Threads for work that may take a long time: requests of clients, and callbacks. Another thread
/// starts when all are busy, so that no work waits for other work. Idle threads end.
pub struct RequestPool(Arc<BackgroundThreads<State>>);

#[derive(Default)]
struct State {
    work: VecDeque<Work>,
    /// Whether the pool is gone, so that idle threads end.
    is_closed: bool,
}

type Work = Box<dyn FnOnce() + Send>;

impl RequestPool {
    /// Creates a pool of threads with this name. A thread starts when there is work.
    pub fn new(name: &'static str) -> Self {
        Self(Arc::new(BackgroundThreads::many(name, State::default())))
    }

    /// Runs this work on one of the threads, at any time.
    pub fn serve(&self, work: Work) {
        let mut state = self.0.lock();
        state.work.push_back(work);
        if start_thread(&self.0, &mut state).is_err() {
            // This thread does the work.
            while let Some(work) = state.work.pop_front() {
                drop(state);
                if let Err(panic) = catch_panic(work) {
                    fleche_core::spi::log::error!(%panic, "a store or a callback panicked on a thread that serves requests");
                }
                state = self.0.lock();
            }
        }
    }
}

impl Drop for RequestPool {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_closed = true;
        self.0.wake_waiting(&state);
    }
}

/// Ensures that another thread takes the next work, if there is any.
///
/// Each thread calls this when it takes work. Long work thus always has another thread behind it, while short work that
/// arrives in thousands is done by few threads.
fn start_thread(threads: &Arc<BackgroundThreads<State>>, state: &mut Locked<State>) -> io::Result<()> {
    if state.work.is_empty() {
        return Ok(());
    }
    let shared = threads.clone();
    BackgroundThreads::wake(threads.clone(), state, move |state| match state.work.pop_front() {
        Some(work) if state.work.is_empty() => Next::Work(work),
        Some(work) => {
            let threads = shared.clone();
            Next::Work(Box::new(move || {
                // If no thread can be started, this one continues with the next work.
                let _ = start_thread(&threads, &mut threads.lock());
                work();
            }) as Work)
        }
        None if state.is_closed => Next::End,
        None => Next::Idle,
    })
}
