//! Hooks for blocking waits on pool threads, so that a pool can wait for its own tasks.
//!
//! An executor that runs tasks on its own threads runs them [`within`] a [`Pool`]. A wait through this module, such as
//! that of [`Job`](crate::Job), first asks the pool to [hasten](Pool::run_or_prioritize) the awaited job, and notifies it when the
//! wait begins and ends.

use std::{
    any::Any,
    cell::RefCell,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use crate::call::CallKey;

/// Identifies a job for as long as it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct JobId(pub(crate) usize);

/// The place of a task in a pool's queue. The pool sets it with [`Task::put`](crate::Task::put) and gets it back when
/// a thread waits for the task's job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueSlot {
    /// The unique number of the pool, which is not 0.
    pub pool: usize,
    /// The place within the pool.
    pub number: u64,
}

/// A [`QueueSlot`] that changes. Only the pool reads and writes it, under its own lock. Other code reads only the number of
/// the pool.
#[derive(Debug, Default)]
pub(crate) struct SlotCell {
    pool: AtomicUsize,
    number: AtomicU64,
}

impl SlotCell {
    pub(crate) fn set(&self, QueueSlot { pool, number }: QueueSlot) {
        self.number.store(number, Relaxed);
        self.pool.store(pool, Relaxed);
    }

    pub(crate) fn pool(&self) -> Option<usize> {
        Some(self.pool.load(Relaxed)).filter(|pool| *pool != 0)
    }

    fn slot(&self) -> Option<QueueSlot> {
        Some(QueueSlot { pool: self.pool()?, number: self.number.load(Relaxed) })
    }
}

/// The slot of a task: its own, or that of the leading task whose result it shares.
#[derive(Debug, Default)]
pub(crate) struct TaskSlot {
    own: SlotCell,
    leader: OnceLock<Arc<SlotCell>>,
}

impl TaskSlot {
    pub(crate) fn follow(&self, leader: Arc<SlotCell>) {
        // A task follows at most one leader.
        let _ = self.leader.set(leader);
    }

    pub(crate) fn mark(&self) -> &SlotCell {
        self.leader.get().map_or(&self.own, |leader| leader)
    }
}

/// A job that a thread waits for.
#[derive(Clone, Copy, Debug)]
pub struct AwaitedJob<'a> {
    pub(crate) job: JobId,
    pub(crate) mark: &'a SlotCell,
}

impl AwaitedJob<'_> {
    /// Returns the job's id.
    pub fn job(&self) -> JobId {
        self.job
    }

    /// Returns the place of the job's task in a pool, if it is in one. The answer is current only under the lock under which
    /// the pool sets it.
    pub fn slot(&self) -> Option<QueueSlot> {
        self.mark.slot()
    }
}

/// A wait of a thread, as seen by the thread's pool.
pub trait Awaited: Send + Sync {
    /// Returns whether the wait is over, so that its thread resumes or has resumed.
    fn is_over(&self) -> bool;

    /// Returns whether only tasks of the pool with this number, or a cancellation, can end the wait.
    fn is_of(&self, pool: usize) -> bool;
}

/// The pool of a thread, as seen by code that waits on the thread.
pub trait Pool: Any + Send + Sync {
    /// Called when a thread waits for this job. If the job's task is in the pool's queue, starts the task: on this thread
    /// if the caller (`here`) and the pool permit that, otherwise on another thread as soon as one is free. Does nothing
    /// for other jobs.
    fn run_or_prioritize(&self, job: AwaitedJob<'_>, here: bool);

    /// Called when the thread begins to wait, so that it no longer counts against the size of the pool. `awaited`
    /// describes the jobs that it waits for, if it waits for jobs.
    fn pause(&self, awaited: Option<Arc<dyn Awaited>>);

    /// Like [`pause`](Self::pause), for a call that another thread or process computes. All waits for one call end
    /// together, so a pool need not start a replacement for each waiting thread. The default treats them like other
    /// waits.
    fn pause_for_call(&self, call: &CallKey) {
        let _ = call;
        self.pause(None);
    }

    /// Called when the wait is over and the thread resumes.
    fn resume(&self);
}

/// The pool that a thread works for, and its state.
#[derive(Clone)]
struct Place {
    pool: Arc<dyn Pool>,
    doing: Doing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Doing {
    /// The thread runs a task, and may run other tasks of the pool while it waits.
    Work,
    /// The thread is dedicated to one task, and may not run others.
    WorkElsewhere,
    /// The thread waits.
    Wait,
}

thread_local! {
    static PLACE: RefCell<Option<Place>> = const { RefCell::new(None) };
}

fn place() -> Option<Place> {
    PLACE.try_with(|place| place.borrow().clone()).ok().flatten()
}

/// Returns the pool and state of this thread if it works. A wait nested in a wait counts as one wait.
fn at_work() -> Option<Place> {
    place().filter(|place| place.doing != Doing::Wait)
}

/// Runs the closure as work of the pool.
pub fn within<R>(pool: Arc<dyn Pool>, run: impl FnOnce() -> R) -> R {
    at(Some(Place { pool, doing: Doing::Work }), run)
}

/// Returns the pool whose work this thread does, if it does any, also during a wait and on the dedicated thread of an
/// isolated call.
pub fn pool() -> Option<Arc<dyn Pool>> {
    place().map(|place| place.pool)
}

fn at<R>(place: Option<Place>, run: impl FnOnce() -> R) -> R {
    struct Until(Option<Place>);
    impl Drop for Until {
        fn drop(&mut self) {
            let _ = PLACE.try_with(|place| place.replace(self.0.take()));
        }
    }
    let _until = Until(PLACE.try_with(|before| before.replace(place)).ok().flatten());
    run()
}

/// The pool work of the calling thread, to be continued on a dedicated thread that may not run other tasks.
pub(crate) struct InheritedWorker(Option<Place>);

impl InheritedWorker {
    /// Captures the work of the calling thread.
    pub(crate) fn here() -> Self {
        Self(place().map(|place| match place.doing {
            Doing::Work => Place { doing: Doing::WorkElsewhere, ..place },
            Doing::WorkElsewhere | Doing::Wait => place,
        }))
    }

    /// Runs the closure, on the dedicated thread, as a continuation of that work.
    pub(crate) fn run<R>(&self, run: impl FnOnce() -> R) -> R {
        at(self.0.clone(), run)
    }
}

/// Returns whether this thread belongs to a pool and is working.
pub(crate) fn is_within() -> bool {
    PLACE.try_with(|place| place.borrow().as_ref().is_some_and(|place| place.doing != Doing::Wait)).unwrap_or(false)
}

/// Asks this thread's pool to start the task of this job, if it is in the pool's queue. The task may run on this thread,
/// which cannot proceed before the job has ended.
pub(crate) fn run_or_prioritize(job: AwaitedJob<'_>) {
    if let Some(Place { pool, doing }) = at_work() {
        pool.run_or_prioritize(job, doing == Doing::Work);
    }
}

/// Like [`run_or_prioritize`], but only on other threads, since this one may proceed before the job has ended.
pub(crate) fn prioritize(job: AwaitedJob<'_>) {
    if let Some(Place { pool, .. }) = at_work() {
        pool.run_or_prioritize(job, false);
    }
}

/// Runs a closure that may block for long, and tells this thread's pool when it begins and ends. For executors and
/// stores.
pub fn blocking<R>(wait: impl FnOnce() -> R) -> R {
    blocking_for(None, wait)
}

/// Like [`blocking`], for a wait that ends as `awaited` describes.
pub(crate) fn blocking_for<R>(awaited: Option<Arc<dyn Awaited>>, wait: impl FnOnce() -> R) -> R {
    paused(|pool| pool.pause(awaited), wait)
}

/// Like [`blocking`], for a call that another thread or process computes.
pub(crate) fn blocking_for_call<R>(call: &CallKey, wait: impl FnOnce() -> R) -> R {
    paused(|pool| pool.pause_for_call(call), wait)
}

fn paused<R>(pause: impl FnOnce(&dyn Pool), wait: impl FnOnce() -> R) -> R {
    struct Resumed(Arc<dyn Pool>);
    impl Drop for Resumed {
        fn drop(&mut self) {
            self.0.resume();
        }
    }
    let Some(place) = at_work() else { return wait() };
    let pool = place.pool.clone();
    at(Some(Place { doing: Doing::Wait, ..place }), || {
        pause(&*pool);
        let _resumed = Resumed(pool);
        wait()
    })
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicI64, thread};

    use super::*;

    #[derive(Default)]
    struct Counting {
        paused: AtomicI64,
        hastened: AtomicI64,
    }

    impl Pool for Counting {
        fn run_or_prioritize(&self, _: AwaitedJob<'_>, here: bool) {
            self.hastened.fetch_add(if here { 1 } else { 100 }, Relaxed);
        }

        fn pause(&self, _: Option<Arc<dyn Awaited>>) {
            self.paused.fetch_add(1, Relaxed);
        }

        fn resume(&self) {
            self.paused.fetch_sub(1, Relaxed);
        }
    }

    #[test]
    fn pool_is_notified_only_of_waits_on_its_own_threads() {
        let pool = Arc::new(Counting::default());
        let mark = SlotCell::default();
        let job = AwaitedJob { job: JobId(1), mark: &mark };
        assert_eq!(blocking(|| pool.paused.load(Relaxed)), 0);
        within(pool.clone(), || {
            assert_eq!(blocking(|| pool.paused.load(Relaxed)), 1);
            assert_eq!(pool.paused.load(Relaxed), 0);
            run_or_prioritize(job);
            InheritedWorker::here().run(|| run_or_prioritize(job));
        });
        run_or_prioritize(job);
        assert_eq!(pool.hastened.load(Relaxed), 101);
        within(pool.clone(), || prioritize(job));
        assert_eq!(pool.hastened.load(Relaxed), 201);
    }

    #[test]
    fn nested_waits_count_as_one() {
        let pool = Arc::new(Counting::default());
        within(pool.clone(), || blocking(|| blocking(|| assert_eq!(pool.paused.load(Relaxed), 1))));
    }

    #[test]
    fn waiting_thread_still_belongs_to_its_pool() {
        let counting: Arc<dyn Pool> = Arc::new(Counting::default());
        let is_here = || pool().is_some_and(|pool| Arc::ptr_eq(&pool, &counting));
        within(counting.clone(), || {
            assert!(is_here() && blocking(is_here));
            let mark = SlotCell::default();
            blocking(|| run_or_prioritize(AwaitedJob { job: JobId(1), mark: &mark }));
            let continued = InheritedWorker::here();
            assert!(thread::scope(|scope| scope.spawn(|| continued.run(is_here)).join().unwrap()));
        });
        assert!(!is_here());
    }

    #[test]
    fn panic_ends_the_wait() {
        let pool = Arc::new(Counting::default());
        let ended = std::panic::catch_unwind(|| within(pool.clone(), || blocking(|| panic!("tried"))));
        assert!(ended.is_err());
        assert_eq!(pool.paused.load(Relaxed), 0);
        assert!(!is_within());
    }
}
