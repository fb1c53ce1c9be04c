//! `ProcessPool`: runs tasks in worker processes of the same binary.

mod codec;
mod dispatch;
mod kinds;
mod queued_task;
mod scheduler;
mod spawn;
mod worker;
mod worker_connection;
mod worker_events;
mod worker_handle;
mod worker_state;

pub use dispatch::ProcessPoolStats;
pub use spawn::WorkerTest;
pub(crate) use spawn::{is_initialised, worker_arguments};
pub use worker::init;

use std::{
    fmt,
    path::Path,
    sync::{Arc, OnceLock},
};

use fleche_core::{
    Executor, JobError, Result, Task,
    executor::{ExecutorConfig, Resources, SubmitError},
    register_isolator,
    spi::{TaskSpi, fork::ProcessLocal},
    store::Reach,
};

use fleche_remote::spi::TaskPermit;
use serde::{Deserialize, Serialize};

use crate::{
    budget::{Budget, cores},
    serial::of_this_process,
};
use dispatch::CLOSED;
use queued_task::{QueuedTask, Requirements};
use scheduler::Scheduler;

/// A pool of worker processes that run tasks in the order of their submission.
///
/// Workers are further processes of this program: [`init`] turns them into workers. They run the same file as this
/// process, even if it was moved, removed or replaced. (A program that is run by a loader, as in `ld.so ./program`,
/// must stay at its path until `init` is called.) The pool starts workers when it has tasks for them, up to a fixed
/// number, and keeps them. A `ProcessPool` is a cheap handle: clones refer to the same pool.
///
/// **What can be submitted.** `#[fleche]` functions, other functions, and closures that capture nothing. A closure that
/// captures, a function pointer or a reference to a function is refused: pass the values as arguments.
///
/// **Stores.** With [`fleche_core::wrap_executor`], or with bound functions, every store works. Workers open stores
/// that any number of processes may open, and reach all others through their channel to the pool's process.
///
/// **Waiting within tasks.** A worker whose task waits for more than 20 ms, for example for a job of a pool that the
/// worker has created, does not count against the pool's size. A stand-in, one of at most 64, runs tasks in its place
/// and may use the cores that it asked for. Workers that wait for the same call share one stand-in; while queued tasks
/// are still held up, another one starts each second. Stand-ins end when they have not been needed for 5 seconds.
///
/// **Working directory.** Workers run in the working directory that the program had when the pool was created.
///
/// **Failures.** A panic ends its task as [`JobError::Panicked`](fleche_core::JobError::Panicked), and the worker takes
/// the next one. When a worker dies, the task that it had started fails as
/// [`JobError::WorkerLost`](fleche_core::JobError::WorkerLost) with the signal or the exit code; tasks that it had not
/// started go to other workers. The death is noticed even if a body has left a forked process behind. A body that
/// writes into the worker's channel loses its own task in this way. Workers end when this process does, however it
/// ends. Bodies keep stdout and stderr. Their stdin is empty, and they inherit no other open file descriptor of this
/// process.
///
/// **Resources.** A task may ask for `cores`, `memory_mb` and `gpus` of the pool's [`Budget`]. It starts when all of
/// them are free, strictly in order, as in a [`ThreadPool`](crate::ThreadPool). Further options:
///
/// - `memory_mb` is also a limit: a body cannot allocate more than that in addition to what its worker already has, and
///   Rust programs abort when an allocation fails;
/// - `timeout`: a job whose body has run for this long ends as [`JobError::TimedOut`](fleche_core::JobError::TimedOut),
///   and its worker is killed, with the programs that the body started;
/// - `retries`: how often a task starts again after its worker was lost;
/// - `working_dir`: the worker's working directory while the body runs. It is not created: if it does not exist, the
///   job is [`Rejected`](fleche_core::JobError::Rejected);
/// - `env`: the body runs in a worker that was started with these variables, in addition to those of this process. If
///   the pool has no room for another worker, an idle one with other variables is ended.
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
/// **Shutdown.** Dropping the last handle waits until every accepted task has run. So does
/// [`shutdown`](Self::shutdown).
#[derive(Clone)]
pub struct ProcessPool(Arc<Handle>);

/// The state that the handles share. Worker connections hold only the scheduler, so this is dropped with the last
/// handle.
struct Handle {
    scheduler: ProcessLocal<Arc<Scheduler>>,
    config: ProcessPoolConfig,
    /// The configured budget, with defaults filled in.
    budget: Budget,
}

/// The configuration of a [`ProcessPool`]: `{"type":"processes","processes":4}`, with `budget` and `replace_after` if
/// they were set. `processes` may be left out, for one per core, which is also the default. Each `open` creates a separate pool,
/// and fails for 0 processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessPoolConfig {
    #[serde(default = "cores")]
    processes: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    budget: Option<Budget>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replace_after: Option<u64>,
}

impl ProcessPoolConfig {
    /// Creates the configuration of a pool of up to this many processes.
    pub fn new(processes: usize) -> Self {
        Self { processes, budget: None, replace_after: None }
    }

    /// Sets the resources that the pool's tasks share. Default: one core per process.
    #[must_use]
    pub fn budget(self, budget: Budget) -> Self {
        Self { budget: Some(budget), ..self }
    }

    /// Replaces each worker after it has run this many tasks, for bodies that leak. Default: workers are kept.
    #[must_use]
    pub fn replace_after(self, tasks: u64) -> Self {
        Self { replace_after: Some(tasks), ..self }
    }
}

impl Default for ProcessPoolConfig {
    fn default() -> Self {
        Self::new(cores())
    }
}

#[typetag::serde(name = "processes")]
impl ExecutorConfig for ProcessPoolConfig {
    fn open(&self) -> Result<Arc<dyn Executor>> {
        Ok(Arc::new(ProcessPool::from_config(self.clone())?))
    }
}

impl ProcessPool {
    /// Creates a pool of up to this many worker processes. A worker starts when there is a task for it.
    ///
    /// # Errors
    /// Fails with [`Error::Config`](fleche_core::Error::Config) for 0 processes, and if the program has not called [`init`].
    pub fn new(processes: usize) -> Result<Self> {
        Self::from_config(ProcessPoolConfig::new(processes))
    }

    /// Creates a pool as [`new`](Self::new) does, with this budget.
    ///
    /// # Errors
    /// Fails as [`new`](Self::new) does.
    pub fn with_budget(processes: usize, budget: Budget) -> Result<Self> {
        Self::from_config(ProcessPoolConfig::new(processes).budget(budget))
    }

    /// Creates a pool from its configuration.
    ///
    /// # Errors
    /// Fails as [`new`](Self::new) does, and if workers are to be replaced after 0 tasks.
    pub fn from_config(config: ProcessPoolConfig) -> Result<Self> {
        if config.processes == 0 {
            return Err(spawn::refused("a pool of 0 processes cannot run tasks; create it with at least 1"));
        }
        if config.replace_after == Some(0) {
            return Err(spawn::refused(
                "workers that are replaced after 0 tasks cannot run any; set `replace_after` to at least 1",
            ));
        }
        spawn::check()?;
        let budget = config.budget.clone().unwrap_or_default().of_workers(config.processes);
        let scheduler = Scheduler::new(config.processes, config.replace_after, &budget);
        crate::interrupt::register(Arc::downgrade(&scheduler) as _);
        Ok(Self(Arc::new(Handle { scheduler: ProcessLocal::new(scheduler), config, budget })))
    }

    /// Returns the maximum number of worker processes, not counting stand-ins.
    pub fn processes(&self) -> usize {
        self.0.config.processes
    }

    /// Returns the pool's counters.
    pub fn stats(&self) -> ProcessPoolStats {
        self.0.scheduler.stats()
    }

    /// Closes the pool for all handles, and waits until all accepted tasks have run and the workers have ended.
    ///
    /// Jobs that are submitted afterwards end as [`JobError::Rejected`](fleche_core::JobError::Rejected). On a thread
    /// of the pool itself, for example in a job's `on_done` callback, it returns at once.
    pub fn shutdown(&self) {
        if self.is_inherited() {
            return;
        }
        self.0.scheduler.close();
        self.0.scheduler.wait();
    }

    /// Cancels every accepted task whose body has not started, and returns their number. The pool stays open.
    ///
    /// The jobs end as [`JobError::Cancelled`](fleche_core::JobError::Cancelled). A job whose task is on its way to a
    /// worker ends when the worker returns the task; some of these tasks, although counted, may still start.
    pub fn cancel_waiting(&self) -> usize {
        if self.is_inherited() {
            return 0;
        }
        self.0.scheduler.cancel_waiting()
    }

    /// Closes the pool without running queued tasks, and waits until the workers have ended.
    ///
    /// Queued tasks end as [`JobError::Cancelled`](fleche_core::JobError::Cancelled). The workers are killed, and the
    /// tasks that they were running end as [`JobError::WorkerLost`](fleche_core::JobError::WorkerLost).
    pub fn shutdown_now(&self) {
        if self.is_inherited() {
            return;
        }
        self.0.scheduler.kill();
        self.0.scheduler.wait();
    }
}

impl ProcessPool {
    /// Returns whether this is a forked child, which leaves the workers to its parent.
    fn is_inherited(&self) -> bool {
        ProcessLocal::is_inherited(&self.0.scheduler)
    }

    fn accept(&self, task: Task, requirements: Requirements) -> Result<(), SubmitError> {
        let scheduler = &self.0.scheduler;
        if scheduler.is_closed() {
            return Err(task.refuse(CLOSED));
        }
        let (call, reply) = task.into_remote()?;
        let binding = call.binding.clone();
        match scheduler.context.encoder.encode_call(call) {
            Ok(parts) => {
                scheduler.accept(QueuedTask { reply, parts, requirements, binding, permit: TaskPermit::default() });
            }
            Err(error) => reply.complete(Err(JobError::rejected(error.to_string()))),
        }
        Ok(())
    }
}

/// The resource options that tasks may use.
const KNOWN: [&str; 7] = ["cores", "memory_mb", "gpus", "timeout", "retries", "working_dir", "env"];

impl Drop for Handle {
    fn drop(&mut self) {
        if ProcessLocal::is_inherited(&self.scheduler) {
            return;
        }
        self.scheduler.close();
        self.scheduler.wait();
    }
}

impl Executor for ProcessPool {
    fn submit_task(&self, task: Task) -> Result<(), SubmitError> {
        self.submit_with(task, &Resources::new())
    }

    fn submit_with(&self, task: Task, resources: &Resources) -> Result<(), SubmitError> {
        let task = resources.known_to(task, "a process pool", &KNOWN)?;
        let task = of_this_process(task, &self.0.scheduler, "the process pool")?;
        match Requirements::from_resources(resources, &self.0.budget) {
            Ok(requirements) => self.accept(task, requirements),
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

register_isolator! { run: run_isolated }

/// The size of the pool, which exceeds the number of calls that any program runs at once: a caller waits for its own
/// call only, and no call may wait for another.
const AT_ONCE: usize = 1 << 16;

/// Returns the pool of all isolated calls of this process. Its workers are kept, and end with this process.
fn isolated_pool() -> Result<&'static ProcessPool> {
    static POOL: OnceLock<ProcessPool> = OnceLock::new();
    if let Some(pool) = POOL.get() {
        return Ok(pool);
    }
    // A failure is not cached: the program may call `init` later.
    let pool = ProcessPool::new(AT_ONCE)?;
    Ok(POOL.get_or_init(|| pool))
}

/// Runs an isolated call in a worker process of its own.
fn run_isolated(task: Task, directory: &Path, gpus: Arc<[u32]>) -> Result<(), SubmitError> {
    let pool = match isolated_pool() {
        Ok(pool) => pool,
        Err(error) => return Err(task.refuse(error.report().to_string())),
    };
    match Requirements::from_resources(&Resources::new().working_dir(directory), &pool.0.budget) {
        Ok(requirements) => pool.accept(task, requirements.visible_gpus(gpus)),
        Err(why) => Err(task.refuse(why)),
    }
}
