//! Registers the waits of fleche's own threads.

use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
};
use std::{cell::Cell, collections::HashSet};

use super::{fork::is_child, lock::LockResultExt};

/// The system's id of a thread.
pub(crate) type ThreadId = i32;

/// The state of fleche's own threads at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct InternalThreads {
    /// Threads that wait for in-flight calls or claims, or read messages that no thread has requested.
    pub(crate) wait_for_nothing: HashSet<ThreadId>,
    /// Whether another process works on a reply to this process.
    pub(crate) is_owed: bool,
}

/// Returns the calling thread's id, or 0 if the system has no thread ids. In a forked child that has not executed
/// another program, it is the id of the thread that forked; quiescence checks do not cover such children.
pub(crate) fn this_thread() -> ThreadId {
    #[cfg(target_os = "linux")]
    {
        let ask = || nix::unistd::gettid().as_raw();
        thread_local! {
            /// The thread's id. It is cached because a miss needs it, and the system call takes as long as a lookup.
            static THIS: Cell<ThreadId> = const { Cell::new(0) };
        }
        let known = THIS.try_with(|this| {
            if this.get() == 0 {
                this.set(ask());
            }
            this.get()
        });
        known.unwrap_or_else(|_| ask())
    }
    #[cfg(not(target_os = "linux"))]
    return 0;
}

static REGISTERED: Mutex<Vec<(ThreadId, Option<Arc<PendingReplies>>)>> = Mutex::new(Vec::new());

fn lock() -> MutexGuard<'static, Vec<(ThreadId, Option<Arc<PendingReplies>>)>> {
    REGISTERED.lock().ignore_poison()
}

/// Registers that this thread waits for an in-flight call or a claim, until this is dropped. For stores whose threads
/// wait for claims: such a wait is not progress of this process.
#[derive(Debug)]
#[must_use = "the wait ends when this is dropped"]
pub struct WaiterThreadGuard(ThreadId);

impl WaiterThreadGuard {
    /// Begins the wait.
    pub fn begin() -> Self {
        Self(add(None))
    }
}

impl Drop for WaiterThreadGuard {
    fn drop(&mut self) {
        remove(self.0);
    }
}

/// Registers that this thread receives messages from another process, until this is dropped. It waits for replies as
/// long as any are pending and the other process works on them; otherwise no thread of this process depends on it.
#[derive(Debug)]
#[must_use = "the registration ends when this is dropped"]
pub struct ReaderThreadGuard(ThreadId);

impl ReaderThreadGuard {
    /// Begins to receive `answers`.
    pub fn begin(answers: Arc<PendingReplies>) -> Self {
        Self(add(Some(answers)))
    }
}

impl Drop for ReaderThreadGuard {
    fn drop(&mut self) {
        remove(self.0);
    }
}

/// The replies that another process owes to this one.
#[derive(Debug, Default)]
pub struct PendingReplies {
    answers: AtomicUsize,
    rests: AtomicBool,
    waits: AtomicUsize,
}

impl PendingReplies {
    /// Counts a pending reply until the returned guard is dropped.
    pub fn ask(self: &Arc<Self>) -> PendingGuard {
        PendingGuard::new(self, |replies| &replies.answers)
    }

    /// Sets whether the work on the replies waits.
    pub fn rest(&self, rests: bool) {
        self.rests.store(rests, SeqCst);
    }

    /// Counts a wait of the other process for a claim of this one, until the returned guard is dropped.
    pub fn wait(self: &Arc<Self>) -> PendingGuard {
        PendingGuard::new(self, |replies| &replies.waits)
    }

    /// Returns whether the other process works on a reply.
    fn is_worked_on(&self) -> bool {
        let waits = self.rests.load(SeqCst) && self.waits.load(SeqCst) > 0;
        self.answers.load(SeqCst) > 0 && !waits
    }
}

/// A guard that keeps a pending reply or a wait counted until it is dropped.
#[derive(Debug)]
#[must_use = "this counts until it is dropped"]
pub struct PendingGuard {
    replies: Arc<PendingReplies>,
    counter: fn(&PendingReplies) -> &AtomicUsize,
}

impl PendingGuard {
    fn new(replies: &Arc<PendingReplies>, counter: fn(&PendingReplies) -> &AtomicUsize) -> Self {
        counter(replies).fetch_add(1, SeqCst);
        Self { replies: replies.clone(), counter }
    }
}

impl Drop for PendingGuard {
    fn drop(&mut self) {
        (self.counter)(&self.replies).fetch_sub(1, SeqCst);
    }
}

fn add(answers: Option<Arc<PendingReplies>>) -> ThreadId {
    let here = this_thread();
    lock().push((here, answers));
    here
}

fn remove(thread: ThreadId) {
    if is_child() {
        return;
    }
    let mut known = lock();
    // Registrations end in reverse order.
    if let Some(at) = known.iter().rposition(|(id, _)| *id == thread) {
        known.remove(at);
    }
}

/// Returns the threads that are registered now.
pub(crate) fn known() -> InternalThreads {
    let mut registered = InternalThreads::default();
    for (thread, answers) in &*lock() {
        registered.is_owed |= answers.as_ref().is_some_and(|answers| answers.is_worked_on());
        registered.wait_for_nothing.insert(*thread);
    }
    registered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receiving_thread_waits_for_pending_replies() {
        let answers = Arc::new(PendingReplies::default());
        let listens = ReaderThreadGuard::begin(answers.clone());
        let here = this_thread();
        // Threads of other tests may be registered too, but none of them has pending replies.
        let sees = || known().wait_for_nothing.contains(&here).then(|| known().is_owed);
        assert_eq!(sees(), Some(false));
        let asked = answers.ask();
        assert_eq!(sees(), Some(true));
        answers.rest(true);
        assert_eq!(sees(), Some(true));
        let waits = answers.wait();
        assert_eq!(sees(), Some(false));
        answers.rest(false);
        assert_eq!(sees(), Some(true));
        drop((asked, waits));
        assert_eq!(sees(), Some(false));
        let waits = WaiterThreadGuard::begin();
        drop(waits);
        assert!(sees().is_some());
        drop(listens);
        assert_eq!(sees(), None);
    }
}
