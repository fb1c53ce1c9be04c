//! `ThreadSample`: what a thread is observed to do at one moment.

use std::time::Duration;

use crate::runtime::internal_threads::ThreadId;

/// The state in which a thread is observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ThreadState {
    /// It waits for another thread of this process.
    Parked,
    /// It waits for another thread of this process, with a timeout.
    ParkedForATime,
    /// It sleeps, or waits for this process's own wakers, like an idle reactor.
    Idle,
    /// It works, or waits for something that another process may cause.
    Busy,
}

/// The futex that a parked thread waits on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Futex {
    pub(super) address: usize,
    /// The value of the futex for which the thread waits to change.
    pub(super) expected: u32,
}

impl Futex {
    /// Returns whether the futex belongs to a lock, judged by the value: the locks of the standard library and of
    /// pthreads have this value while a thread waits.
    pub(super) fn is_lock(self) -> bool {
        self.expected == 2
    }
}

/// A wait with a timeout, or for the end of another thread. A thread that holds a lock in this wait may release it
/// without help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BoundedWait {
    pub(super) until: WaitEnd,
    /// The thread's stack pointer.
    pub(super) stack: usize,
}

/// What ends a rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WaitEnd {
    Timeout,
    /// The end of this thread, if that rests too.
    EndOf(ThreadId),
}

/// A thread as observed at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct ThreadSample {
    pub(super) id: ThreadId,
    pub(super) doing: ThreadState,
    pub(super) futex: Option<Futex>,
    /// The processor time that the thread has used.
    pub(super) worked: Duration,
    pub(super) rests: Option<BoundedWait>,
}
