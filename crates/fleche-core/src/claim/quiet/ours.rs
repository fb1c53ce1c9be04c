//! Threads of the framework's own, which say what they wait for.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
};

use super::{Ours, ThreadId, this_thread};
use crate::fork::is_child;

static KNOWN: Mutex<Vec<(ThreadId, Option<Arc<Owed>>)>> = Mutex::new(Vec::new());

fn lock() -> MutexGuard<'static, Vec<(ThreadId, Option<Arc<Owed>>)>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// This thread waits for a flight or a claim until this is dropped. For stores whose threads wait for claims: what they
/// wait for is no work of this process.
#[derive(Debug)]
#[must_use = "it ends when it is dropped"]
pub struct WaitsHere(ThreadId);

impl WaitsHere {
    /// From now on.
    pub fn begin() -> Self {
        Self(add(None))
    }
}

impl Drop for WaitsHere {
    fn drop(&mut self) {
        remove(self.0);
    }
}

/// This thread hears what comes from outside the process until this is dropped: answers, as long as any are owed, which
/// somebody works on there; else what nothing here rests on.
#[derive(Debug)]
#[must_use = "it ends when it is dropped"]
pub struct ListensHere(ThreadId);

impl ListensHere {
    /// From now on.
    pub fn begin(answers: Arc<Owed>) -> Self {
        Self(add(Some(answers)))
    }
}

impl Drop for ListensHere {
    fn drop(&mut self) {
        remove(self.0);
    }
}

/// Answers that another process owes to this one.
#[derive(Debug, Default)]
pub struct Owed {
    answers: AtomicUsize,
    rests: AtomicBool,
    waits: AtomicUsize,
}

impl Owed {
    /// One more is, until that is dropped.
    pub fn ask(self: &Arc<Self>) -> Counted {
        Counted::new(self, |owed| &owed.answers)
    }

    /// What works on them begins to wait for something, or goes on.
    pub fn rest(&self, rests: bool) {
        self.rests.store(rests, SeqCst);
    }

    /// The other process waits for a claim of this one until that is dropped.
    pub fn wait(self: &Arc<Self>) -> Counted {
        Counted::new(self, |owed| &owed.waits)
    }

    /// Whether somebody works on an answer there.
    fn is_worked_on(&self) -> bool {
        let waits = self.rests.load(SeqCst) && self.waits.load(SeqCst) > 0;
        self.answers.load(SeqCst) > 0 && !waits
    }
}

/// Counts until it is dropped.
#[derive(Debug)]
#[must_use = "it counts until it is dropped"]
pub struct Counted {
    owed: Arc<Owed>,
    counter: fn(&Owed) -> &AtomicUsize,
}

impl Counted {
    fn new(owed: &Arc<Owed>, counter: fn(&Owed) -> &AtomicUsize) -> Self {
        counter(owed).fetch_add(1, SeqCst);
        Self { owed: owed.clone(), counter }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.counter)(&self.owed).fetch_sub(1, SeqCst);
    }
}

fn add(answers: Option<Arc<Owed>>) -> ThreadId {
    let here = this_thread();
    lock().push((here, answers));
    here
}

fn remove(thread: ThreadId) {
    if is_child() {
        return;
    }
    let mut known = lock();
    // What began last ends first.
    if let Some(at) = known.iter().rposition(|(id, _)| *id == thread) {
        known.remove(at);
    }
}

/// What is known now.
pub(super) fn known() -> Ours {
    let mut ours = Ours::default();
    for (thread, answers) in &*lock() {
        ours.is_owed |= answers.as_ref().is_some_and(|answers| answers.is_worked_on());
        ours.wait_for_nothing.insert(*thread);
    }
    ours
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_listens_waits_for_what_was_asked() {
        let answers = Arc::new(Owed::default());
        let listens = ListensHere::begin(answers.clone());
        let here = this_thread();
        // Other tests' threads may be known too, but none of them asks.
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
        let waits = WaitsHere::begin();
        drop(waits);
        assert!(sees().is_some());
        drop(listens);
        assert_eq!(sees(), None);
    }
}
