//! Waits on threads of pools: what their pool does meanwhile, so that a pool can wait for its own tasks.
//!
//! An executor that runs tasks on threads of its own runs them [`within`] a [`Pool`]. Whatever waits there through this
//! module, as [`Job`](crate::Job) does, first asks the pool to [hasten](Pool::hasten) what it waits for, and tells it when
//! the wait begins and ends.

use std::{
    any::Any,
    cell::RefCell,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use crate::call::CallKey;

/// Names a job for as long as it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct JobId(pub(crate) usize);

/// Where a pool keeps a task: as a pool says it with [`Task::put`](crate::Task::put), and is told it again when the task's
/// job is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// The pool, by a number that it alone has; not 0.
    pub pool: usize,
    /// The place in it.
    pub number: u64,
}

/// A [`Spot`] that changes. Read and written by the pool alone, under its own lock, but for which pool it is.
#[derive(Debug, Default)]
pub(crate) struct Mark {
    pool: AtomicUsize,
    number: AtomicU64,
}

impl Mark {
    pub(crate) fn set(&self, Spot { pool, number }: Spot) {
        self.number.store(number, Relaxed);
        self.pool.store(pool, Relaxed);
    }

    pub(crate) fn pool(&self) -> Option<usize> {
        Some(self.pool.load(Relaxed)).filter(|pool| *pool != 0)
    }

    fn spot(&self) -> Option<Spot> {
        Some(Spot { pool: self.pool()?, number: self.number.load(Relaxed) })
    }
}

/// A mark of its own, or that of the task which this one's ends with.
#[derive(Debug, Default)]
pub(crate) struct Marked {
    own: Mark,
    leader: OnceLock<Arc<Mark>>,
}

impl Marked {
    pub(crate) fn follow(&self, leader: Arc<Mark>) {
        // One task is followed, for good.
        let _ = self.leader.set(leader);
    }

    pub(crate) fn mark(&self) -> &Mark {
        self.leader.get().map_or(&self.own, |leader| leader)
    }
}

/// A job that is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Sought<'a> {
    pub(crate) job: JobId,
    pub(crate) mark: &'a Mark,
}

impl Sought<'_> {
    /// The job's name.
    pub fn job(&self) -> JobId {
        self.job
    }

    /// Where a pool has put its task, as last told. Under the lock under which the pool tells it, it is what holds.
    pub fn spot(&self) -> Option<Spot> {
        self.mark.spot()
    }
}

/// What a wait waits for, seen by the pool of the thread that waits.
pub trait Awaited: Send + Sync {
    /// Whether the wait is over: its thread goes on, if it has not already.
    fn is_over(&self) -> bool;

    /// Whether tasks of the pool that has this number, and nothing else but a cancellation, can end the wait.
    fn is_of(&self, pool: usize) -> bool;
}

/// The pool of a thread, as seen by what waits there.
pub trait Pool: Any + Send + Sync {
    /// Something waits for this job. If its task is in the pool's queue, has it started: on this thread if that may be
    /// (`here`) and is wise, else on another as soon as there is one. Does nothing for all other jobs.
    fn hasten(&self, job: Sought<'_>, here: bool);

    /// The thread begins to wait, and counts no more against the size of the pool. What for, where that is jobs.
    fn pause(&self, awaited: Option<Arc<dyn Awaited>>);

    /// As [`pause`](Self::pause), for a call that is computed elsewhere. Waits for one call end together, so a pool need not
    /// run others in the place of each. The default does not tell such waits from others.
    fn pause_for_call(&self, call: &CallKey) {
        let _ = call;
        self.pause(None);
    }

    /// The thread goes on.
    fn resume(&self);
}

/// Where a thread works.
#[derive(Clone)]
struct Place {
    pool: Arc<dyn Pool>,
    doing: Doing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Doing {
    /// Work, amid which other tasks of the pool may run.
    Work,
    /// Work that goes on on a thread of its own kind, where nothing else may run.
    WorkElsewhere,
    /// It waits.
    Wait,
}

thread_local! {
    static PLACE: RefCell<Option<Place>> = const { RefCell::new(None) };
}

fn place() -> Option<Place> {
    PLACE.try_with(|place| place.borrow().clone()).ok().flatten()
}

/// Where this thread works, if it works. A wait within a wait is the same one.
fn at_work() -> Option<Place> {
    place().filter(|place| place.doing != Doing::Wait)
}

/// Runs the closure as work of the pool.
pub fn within<R>(pool: Arc<dyn Pool>, run: impl FnOnce() -> R) -> R {
    at(Some(Place { pool, doing: Doing::Work }), run)
}

/// The pool whose work this thread does, or waits amid; on an isolated call's own thread too.
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

/// The work of the calling thread, to be gone on with on a thread of its own kind, where nothing else may run.
pub(crate) struct Continued(Option<Place>);

impl Continued {
    /// Called on the thread whose work it is.
    pub(crate) fn here() -> Self {
        Self(place().map(|place| match place.doing {
            Doing::Work => Place { doing: Doing::WorkElsewhere, ..place },
            Doing::WorkElsewhere | Doing::Wait => place,
        }))
    }

    /// Called on the other thread.
    pub(crate) fn run<R>(&self, run: impl FnOnce() -> R) -> R {
        at(self.0.clone(), run)
    }
}

/// Whether this thread is one of a pool, and works.
pub(crate) fn is_within() -> bool {
    PLACE.try_with(|place| place.borrow().as_ref().is_some_and(|place| place.doing != Doing::Wait)).unwrap_or(false)
}

/// Has the task of this job started, where it is one of this thread's pool: on this thread, if that may be, since
/// nothing here goes on before it has ended.
pub(crate) fn hasten(job: Sought<'_>) {
    if let Some(Place { pool, doing }) = at_work() {
        pool.hasten(job, doing == Doing::Work);
    }
}

/// As [`hasten`], but on other threads, since this one may go on before the job has ended.
pub(crate) fn prefer(job: Sought<'_>) {
    if let Some(Place { pool, .. }) = at_work() {
        pool.hasten(job, false);
    }
}

/// Runs what waits; this thread's pool knows meanwhile. For executors and stores whose waits may be long.
pub fn blocking<R>(wait: impl FnOnce() -> R) -> R {
    blocking_for(None, wait)
}

/// As [`blocking`], for a wait that ends as this says.
pub(crate) fn blocking_for<R>(awaited: Option<Arc<dyn Awaited>>, wait: impl FnOnce() -> R) -> R {
    paused(|pool| pool.pause(awaited), wait)
}

/// As [`blocking`], for a call that is computed elsewhere.
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
        fn hasten(&self, _: Sought<'_>, here: bool) {
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
    fn a_pool_hears_of_waits_within_it_alone() {
        let pool = Arc::new(Counting::default());
        let mark = Mark::default();
        let job = Sought { job: JobId(1), mark: &mark };
        assert_eq!(blocking(|| pool.paused.load(Relaxed)), 0);
        within(pool.clone(), || {
            assert_eq!(blocking(|| pool.paused.load(Relaxed)), 1);
            assert_eq!(pool.paused.load(Relaxed), 0);
            hasten(job);
            Continued::here().run(|| hasten(job));
        });
        hasten(job);
        assert_eq!(pool.hastened.load(Relaxed), 101);
        within(pool.clone(), || prefer(job));
        assert_eq!(pool.hastened.load(Relaxed), 201);
    }

    #[test]
    fn a_wait_within_a_wait_is_the_same_one() {
        let pool = Arc::new(Counting::default());
        within(pool.clone(), || blocking(|| blocking(|| assert_eq!(pool.paused.load(Relaxed), 1))));
    }

    #[test]
    fn who_waits_is_still_of_the_pool() {
        let counting: Arc<dyn Pool> = Arc::new(Counting::default());
        let is_here = || pool().is_some_and(|pool| Arc::ptr_eq(&pool, &counting));
        within(counting.clone(), || {
            assert!(is_here() && blocking(is_here));
            let mark = Mark::default();
            blocking(|| hasten(Sought { job: JobId(1), mark: &mark }));
            let continued = Continued::here();
            assert!(thread::scope(|scope| scope.spawn(|| continued.run(is_here)).join().unwrap()));
        });
        assert!(!is_here());
    }

    #[test]
    fn a_wait_that_panics_has_ended() {
        let pool = Arc::new(Counting::default());
        let ended = std::panic::catch_unwind(|| within(pool.clone(), || blocking(|| panic!("tried"))));
        assert!(ended.is_err());
        assert_eq!(pool.paused.load(Relaxed), 0);
        assert!(!is_within());
    }
}
