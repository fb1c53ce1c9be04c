//! `ThreadPool`: runs tasks on threads of this process.

mod scheduler;
mod task_queue;
mod worker_thread;

use std::{
    fmt,
    sync::{Arc, Mutex},
    thread,
};

use fleche_core::{
    Error, Executor, Job, Result, Task,
    executor::{ExecutorConfig, Resources, SubmitError},
    job::blocking_hooks,
    spi::{LockResultExt, fork::ProcessLocal},
    store::Reach,
};

use serde::{Deserialize, Serialize};

use crate::{
    budget::{Budget, cores},
    serial::of_this_process,
};
use scheduler::Scheduler;

/// A fixed number of threads that run tasks in the order of their submission.
///
/// A `ThreadPool` is a cheap handle: clones refer to the same pool. A task that panics ends as
/// [`JobError::Panicked`](fleche_core::JobError::Panicked), and its thread takes the next one. A task that is cancelled
/// before it starts is skipped.
///
/// **Shutdown.** Dropping the last handle waits until every accepted task has run. So does
/// [`shutdown`](Self::shutdown). Within a task of the pool itself, neither can wait for that task: both return at once
/// there, and the threads run the accepted tasks and then end.
///
/// **Waiting within tasks.** A task may submit to its own pool and wait for the result, even in a pool of one thread.
/// While it blocks on a [`Job`] of any pool, it does not count against the pool's size: another thread, one of at most
/// 1024, runs tasks in its place, and the cores that it asked for are free for other tasks. A task of its own pool that
/// it waits for moves to the front of the queue. A single job that has not started runs at once, nested in the waiting
/// task and on its thread, up to 8 levels deep:
///
/// - a task should not wait while it holds a lock that the nested task takes, or has borrowed a thread-local variable
///   that the nested task uses;
/// - a nested task has its own active cache, tracing spans, GPUs and processor time, but shares a subscriber or
///   dispatcher that the waiting task has set for its thread;
/// - nothing is nested during a panic, or if a task waits with a timeout or for several jobs
///   ([`as_completed`](fleche_core::job::as_completed), [`join_all`](fleche_core::job::join_all)): other threads run
///   those.
///
/// The pool does not see other waits: on locks, on channels, and on a job that the task awaits as a future with
/// `block_on`. Threads that wait in these ways count against the pool's size.
///
/// **Deadlocks.** All running tasks may wait for other tasks of the pool while the next task cannot start, because no
/// further thread can start or because the waiting tasks hold the memory or GPUs that it asks for. That task then ends
/// as [`JobError::Rejected`](fleche_core::JobError::Rejected). A chain of tasks, each of which waits for the next, may
/// be 8000 long.
///
/// **Working directory.** The threads run in the program's working directory, even if an isolated body creates the pool
/// or waits for it.
///
/// **Resources.** A task may ask for `cores`, `memory_mb` and `gpus` of the pool's [`Budget`]; it starts when all of
/// them are free. Tasks start strictly in order: while the first task waits for resources, smaller ones behind it wait
/// too, so that a stream of small tasks cannot starve it. A task that asks for more than the whole budget is refused at
/// once. A waiting task keeps its memory and its GPUs: if the task that it waits for needs more than the rest, that
/// task waits for other tasks to end, and is refused if none can.
/// [`assigned_gpus`](fleche_core::executor::assigned_gpus) returns the ids of a task's GPUs. `retries` is accepted and
/// has no effect, since a thread is never lost. Threads share an environment and a working directory and cannot be
/// killed, so `env`, `working_dir` and `timeout` are refused, as are all other options.
///
/// ```
/// use fleche_core::{ExecutorExt, executor::{Resources, assigned_gpus}};
/// use fleche_exec::{Budget, ThreadPool};
///
/// let pool = ThreadPool::with_budget(4, Budget { memory_mb: Some(4096), gpus: vec![0, 1], ..Budget::default() })?;
/// let heavy = pool.with(Resources::new().cores(4).memory_mb(2048).gpus(1));
/// assert_eq!(heavy.submit(|_x: i64| assigned_gpus().len(), (1,)).result(), Ok(1));
/// let error = pool.with(Resources::new().env("LANG", "C")).submit(|x: i64| x, (1,)).result().unwrap_err();
/// assert!(error.to_string().contains("`env`"));
/// # Ok::<(), fleche_core::Error>(())
/// ```
#[derive(Clone)]
pub struct ThreadPool(Arc<Threads>);

/// The state that the handles share. Tasks and threads hold only the scheduler, so this is dropped with the last handle.
struct Threads {
    scheduler: ProcessLocal<Arc<Scheduler>>,
    /// The resources that tasks share, with defaults filled in.
    budget: Budget,
    /// The configuration that the pool was created with.
    config: ThreadPoolConfig,
    size: usize,
    /// The lock that a caller holds while it joins the threads, so that a second caller waits as well.
    ending: Mutex<()>,
}

/// The configuration of a [`ThreadPool`]: `{"type":"threads","threads":4}`, with `budget` if it was set. `threads` may be left
/// out, for one per core, which is also the default. Each `open` creates a separate pool, and fails for 0 threads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThreadPoolConfig {
    #[serde(default = "cores")]
    threads: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    budget: Option<Budget>,
}

impl ThreadPoolConfig {
    /// Creates the configuration of a pool of this many threads.
    pub fn new(threads: usize) -> Self {
        Self { threads, budget: None }
    }

    /// Sets the resources that the pool's tasks share. Default: one core per thread.
    #[must_use]
    pub fn budget(self, budget: Budget) -> Self {
        Self { budget: Some(budget), ..self }
    }
}

impl Default for ThreadPoolConfig {
    fn default() -> Self {
        Self::new(cores())
    }
}

#[typetag::serde(name = "threads")]
impl ExecutorConfig for ThreadPoolConfig {
    fn open(&self) -> Result<Arc<dyn Executor>> {
        Ok(Arc::new(ThreadPool::from_config(self.clone())?))
    }
}

impl ThreadPool {
    /// Starts a pool of this many threads.
    ///
    /// # Errors
    /// Fails with [`Error::Config`] for 0 threads, and if the system cannot start that many.
    pub fn new(threads: usize) -> Result<Self> {
        Self::from_config(ThreadPoolConfig::new(threads))
    }

    /// Starts a pool of this many threads with this budget.
    ///
    /// # Errors
    /// Fails as [`new`](Self::new) does.
    pub fn with_budget(threads: usize, budget: Budget) -> Result<Self> {
        Self::from_config(ThreadPoolConfig::new(threads).budget(budget))
    }

    /// Starts the pool that this configuration describes.
    ///
    /// # Errors
    /// Fails as [`new`](Self::new) does.
    pub fn from_config(config: ThreadPoolConfig) -> Result<Self> {
        let threads = config.threads;
        if threads == 0 {
            return Err(refused("a pool of 0 threads cannot run tasks; create it with at least 1, or with `per_core`"));
        }
        let budget = config.budget.clone().unwrap_or_default().of_workers(threads);
        let scheduler = ProcessLocal::new(Scheduler::new(threads, &budget, worker_thread::start));
        #[cfg(unix)]
        crate::interrupt::register(Arc::downgrade(&scheduler) as _);
        let pool = Threads { scheduler, budget, config, size: threads, ending: Mutex::default() };
        for number in 1..=threads {
            // If this fails, dropping the pool ends the threads that were started.
            pool.scheduler.start().map_err(|error| {
                refused(format!("cannot start thread {number} of {threads}: {error}; ask for fewer"))
            })?;
        }
        Ok(Self(Arc::new(pool)))
    }

    /// Starts a pool with one thread per core that this process may use, or a single thread if their number is unknown.
    ///
    /// # Errors
    /// Fails as [`new`](Self::new) does.
    pub fn per_core() -> Result<Self> {
        Self::new(cores())
    }

    /// Returns the number of threads that run tasks.
    pub fn threads(&self) -> usize {
        self.0.size
    }

    /// Runs the closure on a thread of the pool. Its captures and its result may be anything that can move between
    /// threads.
    ///
    /// **Inherits nothing**, even in a wrapped pool: the closure runs under the default cache, without the tags and
    /// metadata kinds that are active here. To pass them on, bind the function that the closure calls:
    ///
    /// ```
    /// # use fleche_core::{Bound, Cache};
    /// # use fleche_exec::ThreadPool;
    /// # fn pipeline(x: i64) -> i64 { x + 1 }
    /// # let _active = Cache::void().enter();
    /// let pool = ThreadPool::new(2)?;
    /// let bound = Bound::bind(pipeline);
    /// let job = pool.spawn(move || bound.call((10,)));
    /// # assert_eq!(job.result().unwrap(), 11);
    /// # Ok::<(), fleche_core::Error>(())
    /// ```
    pub fn spawn<R, C>(&self, closure: C) -> Job<R>
    where
        R: Send + 'static,
        C: FnOnce() -> R + Send + 'static,
    {
        let (task, job) = Task::from_closure(closure);
        if let Err(refused) = self.submit_task(task) {
            refused.task.fail(refused.why);
        }
        job
    }

    /// Cancels every accepted task that has not started, and returns their number. The jobs end as
    /// [`JobError::Cancelled`](fleche_core::JobError::Cancelled); the pool stays open.
    pub fn cancel_waiting(&self) -> usize {
        if ProcessLocal::is_inherited(&self.0.scheduler) {
            return 0;
        }
        self.0.scheduler.cancel_all()
    }

    /// Closes the pool for all handles, and waits until all accepted tasks have run and the threads have ended.
    ///
    /// Jobs that are submitted afterwards end as [`JobError::Rejected`](fleche_core::JobError::Rejected). In a task of
    /// the pool itself, it returns at once. A second call waits as well.
    pub fn shutdown(&self) {
        self.0.end();
    }
}

impl Threads {
    fn end(&self) {
        // A forked child has none of the threads, and leaves the tasks to its parent.
        if ProcessLocal::is_inherited(&self.scheduler) {
            return;
        }
        self.scheduler.close();
        if worker_thread::works_for(&self.scheduler) {
            return;
        }
        blocking_hooks::blocking(|| {
            let _ending = self.ending.lock().ignore_poison();
            while let Some(thread) = self.scheduler.take_thread() {
                // A thread does not join itself, as it would if a thread-local variable of it holds the last handle.
                if thread.thread().id() != thread::current().id() && thread.join().is_err() {
                    fleche_core::spi::log::error!(
                        "a thread of a thread pool panicked, which is a bug in fleche: report it with the message of the panic"
                    );
                }
            }
        });
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.end();
    }
}

impl Executor for ThreadPool {
    fn submit_task(&self, task: Task) -> Result<(), SubmitError> {
        self.submit_with(task, &Resources::new())
    }

    fn submit_with(&self, task: Task, resources: &Resources) -> Result<(), SubmitError> {
        let task = resources.known_to(task, "a thread pool", &["cores", "memory_mb", "gpus", "retries"])?;
        let task = of_this_process(task, &self.0.scheduler, "the thread pool")?;
        let closed = "the thread pool was shut down; submit tasks before that, or create another pool";
        match self.0.budget.demand(resources) {
            Ok(demand) => self.0.scheduler.push(task, demand).map_err(|task| task.refuse(closed)),
            Err(why) => Err(task.refuse(why)),
        }
    }

    fn config(&self) -> Box<dyn ExecutorConfig> {
        Box::new(self.0.config.clone())
    }

    fn reach(&self) -> Reach {
        Reach::Process
    }
}

impl fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPool")
            .field("threads", &self.threads())
            .field("queued", &self.0.scheduler.len())
            .finish_non_exhaustive()
    }
}

fn refused(why: impl Into<String>) -> Error {
    Error::Config { place: "thread pool".to_owned(), why: why.into() }
}
