//! A worker thread of a thread pool: it runs tasks one after the other, and nests a task that another one waits for.

use std::{
    any::Any,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
};

use fleche_core::{
    Task,
    executor::{run_nested, with_assigned_gpus},
    job::blocking_hooks::{self, Awaited, AwaitedJob, Pool},
    spi::{catch_panic, thread_spawner},
};

use super::scheduler::Scheduler;
use crate::budget::Grant;

/// The maximum depth of nested tasks on one thread: each uses a part of the thread's stack.
const NESTED: usize = 8;

/// Returns whether this thread works for the pool of this queue: one of its threads, or the thread of an isolated call
/// in a task.
pub(super) fn works_for(scheduler: &Arc<Scheduler>) -> bool {
    blocking_hooks::pool().is_some_and(|pool| {
        let pool: &dyn Any = &*pool;
        pool.downcast_ref::<WorkerThread>().is_some_and(|worker| Arc::ptr_eq(&worker.scheduler, scheduler))
    })
}

/// A worker thread, which the waits within its tasks use as their [`Pool`].
struct WorkerThread {
    scheduler: Arc<Scheduler>,
    /// The cores of the running task.
    cores: AtomicUsize,
    /// The number of running tasks, each nested in the previous one.
    depth: AtomicUsize,
}

/// Starts a worker thread.
pub(super) fn start(number: usize, scheduler: &Arc<Scheduler>) -> io::Result<JoinHandle<()>> {
    let scheduler = scheduler.clone();
    // Linux shows 15 bytes of a thread's name.
    thread_spawner::spawn(&format!("fleche-pool-{number}"), move || work(scheduler))
}

/// Runs tasks until the queue ends the thread.
fn work(scheduler: Arc<Scheduler>) {
    let worker = Arc::new(WorkerThread { scheduler, cores: AtomicUsize::new(0), depth: AtomicUsize::new(0) });
    blocking_hooks::within(worker.clone(), || {
        let mut next = worker.scheduler.next(None);
        while let Some((task, grant)) = next {
            worker.run(task, &grant);
            next = worker.scheduler.next(Some(grant));
        }
    });
}

impl WorkerThread {
    fn run(&self, task: Task, grant: &Grant) {
        let outer = self.cores.swap(grant.cores(), Relaxed);
        self.depth.fetch_add(1, Relaxed);
        // The task catches panics of its body. This catches panics of the job's callbacks, and of destructors of what
        // the body captured.
        let outcome = catch_panic(|| {
            if !task.is_cancelled() {
                with_assigned_gpus(grant.gpus.clone(), || task.run());
            }
        });
        self.depth.fetch_sub(1, Relaxed);
        self.cores.store(outer, Relaxed);
        if let Err(panic) = outcome {
            fleche_core::spi::log::error!(
                %panic,
                "a job's callback or a destructor panicked after the task had ended; the thread continues"
            );
        }
    }

    /// Returns a number that identifies the thread within its pool.
    fn name(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }
}

impl Pool for WorkerThread {
    fn run_or_prioritize(&self, job: AwaitedJob<'_>, here: bool) {
        // A task that is nested in a panic would see `thread::panicking()`.
        if !here || self.depth.load(Relaxed) >= NESTED || thread::panicking() {
            return self.scheduler.prioritize(job);
        }
        let cores = self.cores.load(Relaxed);
        if let Some((task, grant)) = self.scheduler.run_or_prioritize(job, cores) {
            run_nested(|| self.run(task, &grant));
            self.scheduler.give_back(grant, cores);
        }
    }

    fn pause(&self, awaited: Option<Arc<dyn Awaited>>) {
        self.scheduler.pause(self.name(), self.cores.load(Relaxed), awaited);
    }

    fn resume(&self) {
        self.scheduler.resume(self.name(), self.cores.load(Relaxed));
    }
}
