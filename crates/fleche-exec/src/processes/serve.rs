//! Threads of the pool's process for what may take long, and what workers ask of its stores.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use fleche_core::{Error, job, log::Throttle, starter};

use super::{
    frame::{self, Frame, Kind},
    hand::THREAD,
    rights::Rights,
    stores::Served,
};

/// Threads that do what may take long: what workers ask of stores, and the ends of jobs that somebody hears of. Another
/// starts when all others are busy, so that none of it waits for any other; they end when there is nothing for them to do.
#[derive(Default)]
pub(super) struct Servers {
    state: Mutex<State>,
    more: Condvar,
}

#[derive(Default)]
struct State {
    work: VecDeque<Work>,
    idle: usize,
    /// Whether a thread starts that has not taken anything yet.
    starts: bool,
}

type Work = Box<dyn FnOnce() + Send>;

/// A thread that was not needed for so long ends.
const KEPT: Duration = Duration::from_secs(2);

impl Servers {
    /// Has this done, at any time.
    pub(super) fn serve(self: &Arc<Self>, work: Work) {
        let mut state = self.lock();
        state.work.push_back(work);
        if !self.go_on(state) {
            // No thread to be had: this one has to do.
            while let Some(work) = { self.lock().work.pop_front() } {
                run(work);
            }
        }
    }

    /// Lets another thread take what comes next, if there is anything. Whether one will.
    ///
    /// Each that takes something does this first. So whatever takes long has one behind it, and what does not, and comes in
    /// thousands, is done by few.
    fn go_on(self: &Arc<Self>, mut state: MutexGuard<'_, State>) -> bool {
        if state.work.is_empty() || state.starts {
            return true;
        }
        if state.idle > 0 {
            drop(state);
            self.more.notify_one();
            return true;
        }
        state.starts = true;
        drop(state);
        let servers = self.clone();
        let started = starter::spawn(THREAD, move || servers.work());
        if started.is_err() {
            self.lock().starts = false;
        }
        started.is_ok()
    }

    fn work(self: &Arc<Self>) {
        let mut state = self.lock();
        state.starts = false;
        loop {
            state.idle += 1;
            let waited = self.more.wait_timeout_while(state, KEPT, |state| state.work.is_empty());
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.idle -= 1;
            let Some(work) = state.work.pop_front() else { return };
            self.go_on(state);
            run(work);
            state = self.lock();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn run(work: Work) {
    if let Err(panic) = job::catch(work) {
        fleche_core::log::error!(%panic, "a panic on a thread of a process pool; the thread continues");
    }
}

/// Does what a worker asks for, here and now. The answer's parts: 1 and bytes; 0 for nothing; 2 and what went wrong.
pub(super) fn answer(served: &Served, rights: &Rights, frame: &Frame) -> Frame {
    let parts = match perform(served, rights, frame) {
        Ok(Some(bytes)) => vec![Bytes::from_static(&[1]), bytes],
        Ok(None) => vec![Bytes::from_static(&[0])],
        Err(why) => vec![Bytes::from_static(&[2]), why.into()],
    };
    Frame::new(Kind::Answer, frame.number, parts)
}

/// Does what a worker tells, which expects no answer.
pub(super) fn hear(served: &Served, rights: &Rights, frame: &Frame) {
    if let Err(error) = perform(served, rights, frame) {
        static FAULTS: Throttle = Throttle::new();
        fleche_core::log::warn_rarely!(&FAULTS, 0, %error, "what a worker has computed cannot be recorded");
    }
}

fn perform(served: &Served, rights: &Rights, frame: &Frame) -> Result<Option<Bytes>, String> {
    let store = frame::number(&frame.part(0));
    // A store that panics must not leave the worker waiting.
    let answer = || served.answer(rights, store, &frame.part(1), &frame.part(2));
    let done = job::catch(|| match answer() {
        // Nothing was written, and the store is open again.
        Err(Error::Reopened { .. }) => answer(),
        done => done,
    });
    done.map_err(|panic| panic.to_string())?.map_err(|error| error.to_string())
}
