//! `ProcessPool`: tasks in worker processes of the same binary.

mod config;
mod frame;
mod hand;
mod schedule;
mod serve;
mod start;
mod stores;
mod wire;
mod worker;

pub use config::ProcessPoolConfig;
pub use start::{WorkerTest, init};

use std::{fmt, sync::Arc};

use fleche_core::{
    Error, Executor, Result, Task,
    executor::{ExecutorConfig, SubmitError},
    store::Reach,
};

use schedule::{Schedule, Waiting};

/// Up to a fixed number of worker processes, which take tasks in the order of their submission.
///
/// Workers are this very program, started anew: [`init`] turns them into workers. They start when there is something
/// for them to do, and are kept. A cheap handle: clones are the same pool.
///
/// **What can be submitted.** `#[fleche]` functions, other functions, and closures that capture nothing. A closure that
/// captures, a function pointer or a reference to a function is refused: pass the values as arguments.
///
/// **Stores.** With [`fleche_core::wrap_executor`], or with bound functions, every store works: those that any number of
/// processes may open are opened by the workers, others are reached through the worker's channel.
///
/// **What goes wrong.** A panic ends its task as [`JobError::Panicked`](fleche_core::JobError::Panicked), and the worker
/// takes the next one. A worker that dies fails the task that it had started as
/// [`JobError::WorkerLost`](fleche_core::JobError::WorkerLost) with the signal; what it had not started goes to others.
/// Workers end when this process does, however it ends. Bodies keep stdout and stderr; their stdin is empty.
///
/// **The end.** Dropping the last handle waits until every accepted task has run, and so does
/// [`shutdown`](Self::shutdown), whichever comes first.
#[derive(Clone)]
pub struct ProcessPool(Arc<Handle>);

/// What handles share. Workers' threads hold the schedule only, so that this is dropped with the last handle.
struct Handle {
    schedule: Arc<Schedule>,
    processes: usize,
}

/// What a pool has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessPoolStats {
    /// Tasks that reached the pool: submitted and not answered before, by [`fleche_core::wrap_executor`] for example.
    pub received: u64,
    /// Tasks whose body has started in a worker.
    pub started: u64,
    /// Workers that were started.
    pub workers: u64,
    /// Workers that died before they were told to end.
    pub lost: u64,
}

impl ProcessPool {
    /// A pool of up to this many worker processes. None starts before there is a task for it.
    ///
    /// # Errors
    /// [`Error::Config`] for 0 processes, and where the program has not called [`init`].
    pub fn new(processes: usize) -> Result<Self> {
        if processes == 0 {
            return Err(refused("a pool of 0 processes runs nothing; ask for at least 1, or for one per core"));
        }
        start::check()?;
        Ok(Self(Arc::new(Handle { schedule: Schedule::new(processes), processes })))
    }

    /// How many worker processes it may have.
    pub fn processes(&self) -> usize {
        self.0.processes
    }

    /// What it has done so far.
    pub fn stats(&self) -> ProcessPoolStats {
        self.0.schedule.stats()
    }

    /// Accepts nothing more, in any handle: from here on submitted jobs end as
    /// [`JobError::Rejected`](fleche_core::JobError::Rejected). Returns when all accepted tasks have run and the workers
    /// have ended; on a thread of the pool itself, where a job's `on_done` runs, at once.
    pub fn shutdown(&self) {
        self.0.schedule.close();
        self.0.schedule.wait();
    }

    /// As [`shutdown`](Self::shutdown), without letting tasks run: those that wait end as
    /// [`JobError::Cancelled`](fleche_core::JobError::Cancelled), workers are killed, and what they were running ends as
    /// [`JobError::WorkerLost`](fleche_core::JobError::WorkerLost).
    pub fn shutdown_now(&self) {
        self.0.schedule.kill();
        self.0.schedule.wait();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.schedule.close();
        self.schedule.wait();
    }
}

impl Executor for ProcessPool {
    fn submit_task(&self, task: Task) -> Result<(), SubmitError> {
        let schedule = &self.0.schedule;
        if schedule.is_closed() {
            return Err(task.refuse(CLOSED));
        }
        let (call, reply) = task.take_apart()?;
        let binding = call.binding.clone();
        match wire::call(call, &schedule.served) {
            Ok(parts) => schedule.accept(Waiting { reply, parts, _binding: binding }),
            Err(error) => reply.keep(Err(fleche_core::JobError::rejected(error.to_string()))),
        }
        Ok(())
    }

    fn config(&self) -> Box<dyn ExecutorConfig> {
        Box::new(ProcessPoolConfig::new(self.processes()))
    }

    fn reach(&self) -> Reach {
        Reach::Shared
    }
}

impl fmt::Debug for ProcessPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessPool")
            .field("processes", &self.processes())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

const CLOSED: &str = "the process pool was shut down; submit before that, or make another pool";

fn refused(why: impl Into<String>) -> Error {
    Error::Config { place: "process pool".to_owned(), why: why.into() }
}
