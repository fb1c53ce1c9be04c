//! One thread of a thread pool: it runs tasks, one after the other and, while it waits for it, one amid another.

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
    executor::{amid, with_assigned_gpus},
    job, starter,
    waiting::{self, Awaited, Pool, Sought},
};

use super::queue::Queue;
use crate::budget::Grant;

/// So many tasks may run amid one another on one thread: each takes a part of its stack.
const NESTED: usize = 8;

/// Whether this thread does the work of the pool with this queue: one of its own, or one of an isolated call in a task.
pub(super) fn works_for(queue: &Arc<Queue>) -> bool {
    waiting::pool().is_some_and(|pool| {
        let pool: &dyn Any = &*pool;
        pool.downcast_ref::<Lane>().is_some_and(|lane| Arc::ptr_eq(&lane.queue, queue))
    })
}

/// What a thread tells its pool.
struct Lane {
    queue: Arc<Queue>,
    /// Of the task that runs.
    cores: AtomicUsize,
    /// How many tasks run, one amid the other.
    depth: AtomicUsize,
}

/// Starts a thread of a pool.
pub(super) fn start(number: usize, queue: &Arc<Queue>) -> io::Result<JoinHandle<()>> {
    let queue = queue.clone();
    // Linux shows 15 bytes of a thread's name.
    starter::spawn(&format!("fleche-pool-{number}"), move || work(queue))
}

/// Runs tasks until there will be none.
fn work(queue: Arc<Queue>) {
    let lane = Arc::new(Lane { queue, cores: AtomicUsize::new(0), depth: AtomicUsize::new(0) });
    waiting::within(lane.clone(), || {
        let mut next = lane.queue.next(None);
        while let Some((task, grant)) = next {
            lane.run(task, &grant);
            next = lane.queue.next(Some(grant));
        }
    });
}

impl Lane {
    fn run(&self, task: Task, grant: &Grant) {
        let outer = self.cores.swap(grant.cores(), Relaxed);
        self.depth.fetch_add(1, Relaxed);
        // The task itself catches panics of its body; this is for what others do on this thread when a job is done, or
        // when what a body captured is dropped.
        let outcome = job::catch(|| {
            if !task.is_cancelled() {
                with_assigned_gpus(grant.gpus.clone(), || task.run());
            }
        });
        self.depth.fetch_sub(1, Relaxed);
        self.cores.store(outer, Relaxed);
        if let Err(panic) = outcome {
            fleche_core::log::error!(%panic, "a panic after the end of a task; the thread continues");
        }
    }

    /// What names it among the pool's.
    fn name(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }
}

impl Pool for Lane {
    fn hasten(&self, job: Sought<'_>, here: bool) {
        // A task that ran amid a panic would be told that it panics.
        if !here || self.depth.load(Relaxed) >= NESTED || thread::panicking() {
            return self.queue.prefer(job);
        }
        let cores = self.cores.load(Relaxed);
        if let Some((task, grant)) = self.queue.hasten(job, cores) {
            amid(|| self.run(task, &grant));
            self.queue.give_back(grant, cores);
        }
    }

    fn pause(&self, awaited: Option<Arc<dyn Awaited>>) {
        self.queue.pause(self.name(), self.cores.load(Relaxed), awaited);
    }

    fn resume(&self) {
        self.queue.resume(self.name(), self.cores.load(Relaxed));
    }
}
