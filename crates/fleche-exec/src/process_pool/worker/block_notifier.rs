//! Reports the waits of a worker's tasks to the pool.

use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use fleche_core::{
    CallKey,
    job::blocking_hooks::{Awaited, AwaitedJob, Pool},
    spi::{BackgroundThreads, Next},
};
use fleche_remote::spi::Client;

use crate::process_pool::kinds;

/// The duration from which a wait is reported. For a shorter one, a stand-in would start needlessly.
const SHORT: Duration = Duration::from_millis(20);

/// The pool, as waits in a task see it.
pub(super) struct BlockNotifier(Arc<BackgroundThreads<State>>);

struct State {
    channel: Arc<Client>,
    /// When the current wait began, or `None` if the task does not wait.
    begun: Option<Instant>,
    /// The call that the task waits for, if any.
    call: Option<CallKey>,
    /// Whether the wait has been reported.
    reported: bool,
}

impl BlockNotifier {
    pub(super) fn new(channel: Arc<Client>) -> Self {
        let state = State { channel, begun: None, call: None, reported: false };
        Self(Arc::new(BackgroundThreads::one("fleche-waits", state)))
    }

    fn begin(&self, call: Option<CallKey>) {
        let mut state = self.0.lock();
        (state.begun, state.call) = (Some(Instant::now()), call);
        // Without the thread, the pool does not learn of the wait and starts no stand-in.
        let _ = BackgroundThreads::wake(self.0.clone(), &mut state, State::next);
    }
}

impl State {
    /// Reports the wait if it is not short. Frames are sent under the lock, so they stay in order.
    fn next(&mut self) -> Next<fn()> {
        let Some(begun) = self.begun.filter(|_| !self.reported) else { return Next::Idle };
        if begun + SHORT > Instant::now() {
            return Next::WaitUntil(begun + SHORT);
        }
        let call = self.call.map(|call| *call.digest().as_bytes());
        let call = call.as_ref().map_or(&[][..], |call| call);
        self.reported = self.channel.send(kinds::PAUSED, 0, &[call]).is_ok();
        // If the pool is gone, this process ends anyway.
        Next::Idle
    }
}

impl Pool for BlockNotifier {
    /// Does nothing: the pool's tasks are in another process.
    fn run_or_prioritize(&self, _: AwaitedJob<'_>, _: bool) {}

    fn pause(&self, _: Option<Arc<dyn Awaited>>) {
        self.begin(None);
    }

    fn pause_for_call(&self, call: &CallKey) {
        self.begin(Some(*call));
    }

    fn resume(&self) {
        let mut state = self.0.lock();
        state.begun = None;
        if mem::take(&mut state.reported) {
            // If the pool is gone, this process ends anyway.
            let _ = state.channel.send(kinds::RESUMED, 0, &[]);
        }
    }
}
