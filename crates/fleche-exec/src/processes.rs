//! `ProcessPool`: tasks in worker processes of the same binary.

mod config;
mod frame;
mod hand;
mod isolated;
mod launch;
mod pieces;
mod rights;
mod schedule;
mod serve;
mod start;
mod stores;
mod talk;
mod waiting;
mod wire;
mod worker;

pub use config::ProcessPoolConfig;
pub use start::{WorkerTest, init};

use std::{fmt, sync::Arc};

use fleche_core::{
    Error, Executor, JobError, Result, Task,
    executor::{ExecutorConfig, Resources, SubmitError},
    fork::ProcessLocal,
    store::Reach,
};

use crate::{budget::Budget, foreign::of_this_process};
use rights::TaskRight;
use schedule::Schedule;
use waiting::{Waiting, Wants};

/// Up to a fixed number of worker processes, which take tasks in the order of their submission.
///
/// Workers are further processes of this program: [`init`] turns them into workers. They run the same file as this process,
/// even if it was moved, removed or replaced. (A program that is run by a loader, as in `ld.so ./program`, must stay at its
/// path until `init` is called.) Workers start when there is something for them to do, and are kept. A cheap
/// handle: clones are the same pool.
///
/// **What can be submitted.** `#[fleche]` functions, other functions, and closures that capture nothing. A closure that
/// captures, a function pointer or a reference to a function is refused: pass the values as arguments.
///
/// **Stores.** With [`fleche_core::wrap_executor`], or with bound functions, every store works: those that any number of
/// processes may open are opened by the workers, others are reached through the worker's channel.
///
/// **Waiting within tasks.** A worker whose task waits for a job for more than 20 ms, of a pool of its own for example, does
/// not count against the pool's size: another, of up to 64, runs tasks in its stead, with the cores that it asked for.
/// Workers that wait for the same call share one stand-in. While that holds up queued tasks, another starts each second.
/// Stand-ins are kept for some seconds, for the next waits.
///
/// **Where.** Workers work in the working directory that the program had when the pool was made.
///
/// **What goes wrong.** A panic ends its task as [`JobError::Panicked`](fleche_core::JobError::Panicked), and the worker
/// takes the next one. A worker that dies fails the task that it had started as
/// [`JobError::WorkerLost`](fleche_core::JobError::WorkerLost) with the signal or the exit code; what it had not started goes
/// to others. A process that a body has forked and left behind does not hide the death. A body that writes into the
/// worker's channel loses its own task in this way. Workers end when this process does, however it ends. Bodies keep stdout
/// and stderr; their stdin is empty, and nothing else that is open in this process is open in theirs.
///
/// **Resources.** A task may ask for `cores`, `memory_mb` and `gpus` of the pool's [`Budget`]; it starts when all of it is
/// free, strictly in order, as in a [`ThreadPool`](crate::ThreadPool). Beyond that:
///
/// - `memory_mb` is a limit as well: a body that takes more than that on top of what its worker has cannot allocate, on
///   which Rust programs abort;
/// - `timeout`: when the body has run so long, its job ends as [`JobError::TimedOut`](fleche_core::JobError::TimedOut), and
///   its worker is killed, with the programs that the body started;
/// - `retries`: so often a task whose worker was lost starts anew;
/// - `working_dir`: the worker's working directory while the body runs. It is not created: where there is none, the job
///   is [`Rejected`](fleche_core::JobError::Rejected);
/// - `env`: the body runs in a worker that was started with these variables, beside those of this process. Workers
///   with other variables are ended where the pool has no room for another.
///
/// ```no_run
/// use fleche_core::{ExecutorExt, executor::Resources};
/// use fleche_exec::ProcessPool;
/// use std::time::Duration;
///
/// fn solve(x: f64) -> f64 { x.sqrt() }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     fleche_exec::init();
///     let pool = ProcessPool::new(2)?;
///     let once = Resources::new().env("OMP_NUM_THREADS", "1").timeout(Duration::from_secs(3600)).retries(2);
///     assert_eq!(pool.with(once).submit(solve, (4.0,)).result()?, 2.0);
///     Ok(())
/// }
/// ```
///
/// **The end.** Dropping the last handle waits until every accepted task has run, and so does
/// [`shutdown`](Self::shutdown), whichever comes first.
#[derive(Clone)]
pub struct ProcessPool(Arc<Handle>);

/// What handles share. Workers' threads hold the schedule only, so that this is dropped with the last handle.
struct Handle {
    schedule: ProcessLocal<Arc<Schedule>>,
    config: ProcessPoolConfig,
    /// With what the configuration leaves open filled in.
    budget: Budget,
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
        Self::of(ProcessPoolConfig::new(processes))
    }

    /// As [`new`](Self::new), with what its tasks share.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_budget(processes: usize, budget: Budget) -> Result<Self> {
        Self::of(ProcessPoolConfig::new(processes).with_budget(budget))
    }

    /// As [`new`](Self::new), with all that can be chosen.
    ///
    /// # Errors
    /// As [`new`](Self::new), and where workers are to be replaced after 0 tasks.
    pub fn of(config: ProcessPoolConfig) -> Result<Self> {
        if config.processes == 0 {
            return Err(refused("a pool of 0 processes runs nothing; ask for at least 1, or for one per core"));
        }
        if config.replace_after == Some(0) {
            return Err(refused("workers that are replaced after 0 tasks run none; replace them after 1, or never"));
        }
        start::check()?;
        let budget = config.budget.clone().unwrap_or_default().of_workers(config.processes);
        let schedule = Schedule::new(config.processes, config.replace_after, &budget);
        crate::interrupt::register(Arc::downgrade(&schedule) as _);
        Ok(Self(Arc::new(Handle { schedule: ProcessLocal::new(schedule), config, budget })))
    }

    /// How many worker processes it may have.
    pub fn processes(&self) -> usize {
        self.0.config.processes
    }

    /// What it has done so far.
    pub fn stats(&self) -> ProcessPoolStats {
        self.0.schedule.stats()
    }

    /// Accepts nothing more, in any handle: from here on submitted jobs end as
    /// [`JobError::Rejected`](fleche_core::JobError::Rejected). Returns when all accepted tasks have run and the workers
    /// have ended; on a thread of the pool itself, where a job's `on_done` runs, at once.
    pub fn shutdown(&self) {
        if self.is_inherited() {
            return;
        }
        self.0.schedule.close();
        self.0.schedule.wait();
    }

    /// Cancels every accepted task whose body has not started: those jobs end as
    /// [`JobError::Cancelled`](fleche_core::JobError::Cancelled), the ones on their way to a worker as soon as it gives
    /// them back. The pool goes on. How many there are; some of those on their way may yet start.
    pub fn cancel_waiting(&self) -> usize {
        if self.is_inherited() {
            return 0;
        }
        self.0.schedule.cancel_waiting()
    }

    /// As [`shutdown`](Self::shutdown), without letting tasks run: those that wait end as
    /// [`JobError::Cancelled`](fleche_core::JobError::Cancelled), workers are killed, and what they were running ends as
    /// [`JobError::WorkerLost`](fleche_core::JobError::WorkerLost).
    pub fn shutdown_now(&self) {
        if self.is_inherited() {
            return;
        }
        self.0.schedule.kill();
        self.0.schedule.wait();
    }
}

impl ProcessPool {
    /// Returns whether this is a forked child, which leaves the workers to its parent.
    fn is_inherited(&self) -> bool {
        ProcessLocal::is_inherited(&self.0.schedule)
    }

    fn accept(&self, task: Task, wants: Wants) -> Result<(), SubmitError> {
        let schedule = &self.0.schedule;
        if schedule.is_closed() {
            return Err(task.refuse(CLOSED));
        }
        let (call, reply) = task.take_apart()?;
        let binding = call.binding.clone();
        match schedule.wire.call(call) {
            Ok(parts) => schedule.accept(Waiting { reply, parts, wants, binding, right: TaskRight::default() }),
            Err(error) => reply.keep(Err(JobError::rejected(error.to_string()))),
        }
        Ok(())
    }
}

/// What tasks may ask for.
const KNOWN: [&str; 7] = ["cores", "memory_mb", "gpus", "timeout", "retries", "working_dir", "env"];

impl Drop for Handle {
    fn drop(&mut self) {
        if ProcessLocal::is_inherited(&self.schedule) {
            return;
        }
        self.schedule.close();
        self.schedule.wait();
    }
}

impl Executor for ProcessPool {
    fn submit_task(&self, task: Task) -> Result<(), SubmitError> {
        self.submit_with(task, &Resources::new())
    }

    fn submit_with(&self, task: Task, resources: &Resources) -> Result<(), SubmitError> {
        let task = resources.known_to(task, "a process pool", &KNOWN)?;
        let task = of_this_process(task, &self.0.schedule, "the process pool")?;
        match Wants::of(resources, &self.0.budget) {
            Ok(wants) => self.accept(task, wants),
            Err(why) => Err(task.refuse(why)),
        }
    }

    fn config(&self) -> Box<dyn ExecutorConfig> {
        Box::new(self.0.config.clone())
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
