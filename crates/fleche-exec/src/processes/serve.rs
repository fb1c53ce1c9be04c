//! Threads that do in the pool's process what workers ask of its stores.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc::Sender},
    thread,
    time::Duration,
};

use bytes::Bytes;
use fleche_core::job;

use super::{
    frame::{self, Frame, Kind},
    hand::{Message, THREAD},
    schedule::Schedule,
    stores::Served,
};

/// Threads that start when all others are busy, so that no request waits for another, and that end when there is nothing
/// for them to do.
#[derive(Default)]
pub(super) struct Servers {
    state: Mutex<State>,
    more: Condvar,
}

#[derive(Default)]
struct State {
    requests: VecDeque<Request>,
    idle: usize,
}

struct Request {
    schedule: Arc<Schedule>,
    frame: Frame,
    answers: Sender<Message>,
}

/// A thread that was not needed for so long ends.
const KEPT: Duration = Duration::from_secs(2);

impl Servers {
    /// Has a request answered, at any time.
    pub(super) fn serve(self: &Arc<Self>, schedule: Arc<Schedule>, frame: Frame, answers: Sender<Message>) {
        let mut state = self.lock();
        state.requests.push_back(Request { schedule, frame, answers });
        let enough = state.idle >= state.requests.len();
        drop(state);
        self.more.notify_one();
        let servers = self.clone();
        if !enough && thread::Builder::new().name(THREAD.to_owned()).spawn(move || servers.work()).is_err() {
            // No thread to be had: this one has to do.
            while let Some(request) = { self.lock().requests.pop_front() } {
                request.answer();
            }
        }
    }

    fn work(&self) {
        while let Some(request) = self.next() {
            request.answer();
        }
    }

    fn next(&self) -> Option<Request> {
        let mut state = self.lock();
        state.idle += 1;
        let waited = self.more.wait_timeout_while(state, KEPT, |state| state.requests.is_empty());
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.idle -= 1;
        state.requests.pop_front()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Request {
    fn answer(self) {
        let answer = answer(&self.schedule.wire.served, &self.frame);
        // A worker that is gone needs no answer.
        let _ = self.answers.send(Message::Frame(answer));
    }
}

/// Does what a worker asks for, here and now. The answer's parts: 1 and bytes; 0 for nothing; 2 and what went wrong.
pub(super) fn answer(served: &Served, frame: &Frame) -> Frame {
    let parts = match perform(served, frame) {
        Ok(Some(bytes)) => vec![Bytes::from_static(&[1]), bytes],
        Ok(None) => vec![Bytes::from_static(&[0])],
        Err(why) => vec![Bytes::from_static(&[2]), why.into()],
    };
    Frame::new(Kind::Answer, frame.number, parts)
}

/// Does what a worker tells, which expects no answer.
pub(super) fn hear(served: &Served, frame: &Frame) {
    if let Err(error) = perform(served, frame) {
        tracing::warn!(%error, "what a worker has computed cannot be recorded");
    }
}

fn perform(served: &Served, frame: &Frame) -> Result<Option<Bytes>, String> {
    let store = frame::number(&frame.part(0));
    // A store that panics must not leave the worker waiting.
    let done = job::catch(|| served.answer(store, &frame.part(1), &frame.part(2)));
    done.map_err(|panic| panic.to_string())?.map_err(|error| error.to_string())
}
