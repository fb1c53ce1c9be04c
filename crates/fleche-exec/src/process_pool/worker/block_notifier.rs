//! Reports the waits of a worker's tasks to the pool.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard},
    time::Duration,
};

use fleche_core::{
    CallKey,
    job::blocking_hooks::{Awaited, AwaitedJob, Pool},
    spi::{LockResultExt, thread_spawner},
};

use super::channel::Channel;
use crate::process_pool::frame::Kind;

/// The duration from which a wait is reported. For a shorter one, a stand-in would start needlessly.
const SHORT: Duration = Duration::from_millis(20);

/// The pool, as waits in a task see it.
pub(super) struct BlockNotifier(Arc<Shared>);

struct Shared {
    channel: Arc<Channel>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The number of the current wait.
    wait: u64,
    /// The call that the task waits for, if any.
    call: Option<CallKey>,
    paused: bool,
    /// Whether the wait has been reported.
    reported: bool,
    /// Whether there is a thread that reports waits.
    watched: bool,
}

impl BlockNotifier {
    pub(super) fn new(channel: Arc<Channel>) -> Self {
        Self(Arc::new(Shared { channel, state: Mutex::default(), changed: Condvar::new() }))
    }
}

impl Shared {
    /// Reports waits that are not short, as long as the process lives. Frames are sent under the lock, so they stay in
    /// order.
    fn watch(&self) {
        let mut state = self.lock();
        loop {
            state = self.changed.wait_while(state, |state| !state.paused || state.reported).ignore_poison();
            let wait = state.wait;
            let same = |state: &mut State| state.paused && state.wait == wait;
            let waited = self.changed.wait_timeout_while(state, SHORT, same).ignore_poison();
            state = waited.0;
            if waited.1.timed_out() {
                let call = state.call.map(|call| *call.digest().as_bytes());
                let call = call.as_ref().map_or(&[][..], |call| call);
                state.reported = self.channel.send(Kind::Paused, 0, &[call]).is_ok();
            }
        }
    }

    fn begin(self: &Arc<Self>, call: Option<CallKey>) {
        let mut state = self.lock();
        state.paused = true;
        state.wait += 1;
        state.call = call;
        if !state.watched {
            let shared = self.clone();
            // Without the thread, the pool does not learn of the wait and starts no stand-in.
            state.watched = thread_spawner::spawn("fleche-waits", move || shared.watch()).is_ok();
        }
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().ignore_poison()
    }
}

impl Pool for BlockNotifier {
    /// Does nothing: the pool's tasks are in another process.
    fn run_or_prioritize(&self, _: AwaitedJob<'_>, _: bool) {}

    fn pause(&self, _: Option<Arc<dyn Awaited>>) {
        self.0.begin(None);
    }

    fn pause_for_call(&self, call: &CallKey) {
        self.0.begin(Some(*call));
    }

    fn resume(&self) {
        let mut state = self.0.lock();
        state.paused = false;
        if std::mem::take(&mut state.reported) {
            // If the pool is gone, this process ends anyway.
            let _ = self.0.channel.send(Kind::Resumed, 0, &[]);
        }
    }
}
