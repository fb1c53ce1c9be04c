//! `ThreadPool`: tasks on threads of this process.

mod config;
mod queue;

pub use config::ThreadPoolConfig;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle, ThreadId},
};

use fleche_core::{
    Error, Executor, Job, Result, Task,
    executor::{ExecutorConfig, Resources, SubmitError, with_assigned_gpus},
    job,
    store::Reach,
};

use crate::budget::{Budget, Grant};
use queue::Queue;

/// A fixed number of threads that take tasks in the order of their submission.
///
/// A cheap handle: clones are the same pool. A task that panics ends as
/// [`JobError::Panicked`](fleche_core::JobError::Panicked), and its thread takes the next one; a task cancelled before
/// its turn is passed over.
///
/// **The end.** Dropping the last handle waits until every accepted task has run, and so does
/// [`shutdown`](Self::shutdown), whichever comes first. On a thread of the pool itself, where a task holds the last
/// handle, neither can wait for that task: there both return at once, and the threads run what was accepted and end by
/// themselves.
///
/// **Waiting within tasks.** A task that waits for another of the same pool keeps its thread meanwhile; where all
/// threads do so, none is left for what they wait for. Call the function instead of submitting it, or use a second pool.
///
/// **Resources.** A task may ask for `cores`, `memory_mb` and `gpus` of the pool's [`Budget`]; it starts when all of it is
/// free. Tasks start strictly in order: while the first waits for much, smaller ones behind it wait too, so that no
/// stream of small tasks can starve it. One that asks for more than the whole budget is refused at once. The ids of its
/// GPUs are told by [`assigned_gpus`](fleche_core::executor::assigned_gpus). `retries` is accepted and changes nothing,
/// since a thread is never lost. Threads share an environment and a working directory and cannot be ended, so `env`,
/// `working_dir` and `timeout` are refused, as are all other options.
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

/// What handles share. Tasks and workers hold the queue only, so that this is dropped with the last handle.
struct Threads {
    queue: Arc<Queue>,
    /// All that tasks share, with what is not said filled in.
    budget: Budget,
    /// As it was asked for.
    config: ThreadPoolConfig,
    ids: Vec<ThreadId>,
    /// Until somebody waits for them.
    running: Mutex<Vec<JoinHandle<()>>>,
}

impl ThreadPool {
    /// Starts a pool of this many threads.
    ///
    /// # Errors
    /// [`Error::Config`] for 0 threads, and where the system refuses to start so many.
    pub fn new(threads: usize) -> Result<Self> {
        Self::start(ThreadPoolConfig::new(threads), threads, Budget::default())
    }

    /// Starts a pool of this many threads whose tasks share this.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_budget(threads: usize, budget: Budget) -> Result<Self> {
        Self::start(ThreadPoolConfig::with_budget(threads, budget.clone()), threads, budget)
    }

    fn start(config: ThreadPoolConfig, threads: usize, budget: Budget) -> Result<Self> {
        if threads == 0 {
            return Err(refused("a pool of 0 threads runs nothing; ask for at least 1, or for one per core"));
        }
        let budget = budget.of_workers(threads);
        let queue = Arc::new(Queue::new(budget.clone()));
        let mut pool = Threads { queue, budget, config, ids: Vec::new(), running: Mutex::default() };
        for number in 0..threads {
            // Where this fails, dropping the pool ends those that were started.
            let thread = start(number, pool.queue.clone()).map_err(|error| {
                refused(format!("thread {} of {threads} does not start: {error}; ask for fewer", number + 1))
            })?;
            pool.ids.push(thread.thread().id());
            pool.running.get_mut().unwrap_or_else(PoisonError::into_inner).push(thread);
        }
        Ok(Self(Arc::new(pool)))
    }

    /// Starts a pool of as many threads as this process may use cores; of one, where the system does not tell.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn per_core() -> Result<Self> {
        Self::new(thread::available_parallelism().map_or(1, Into::into))
    }

    /// How many threads it has.
    pub fn threads(&self) -> usize {
        self.0.ids.len()
    }

    /// Runs the closure on a thread of the pool. It may capture anything that may go to another thread, and give back
    /// anything that may come from one.
    ///
    /// **Inherits nothing**, in a wrapped pool neither: the closure runs under the default cache, without the tags and
    /// metadata kinds entered here. To carry them, bind what it calls:
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
        let (task, job) = Task::of_closure(closure);
        if let Err(refused) = self.submit_task(task) {
            refused.task.fail(refused.why);
        }
        job
    }

    /// Accepts nothing more, in any handle: from here on submitted jobs end as
    /// [`JobError::Rejected`](fleche_core::JobError::Rejected). Returns when all accepted tasks have run and the threads
    /// have ended; on a thread of the pool itself, at once. A repetition waits likewise.
    pub fn shutdown(&self) {
        self.0.end();
    }
}

impl Threads {
    fn end(&self) {
        self.queue.close();
        if self.ids.contains(&thread::current().id()) {
            return;
        }
        // Held while waiting, so that whoever comes second waits as well.
        for thread in self.running.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the pool ended by a panic");
            }
        }
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
        let closed = "the thread pool was shut down; submit before that, or make another pool";
        match self.0.budget.demand(resources) {
            Ok(demand) => self.0.queue.push(task, demand).map_err(|task| task.refuse(closed)),
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
            .field("queued", &self.0.queue.len())
            .finish_non_exhaustive()
    }
}

fn refused(why: impl Into<String>) -> Error {
    Error::Config { place: "thread pool".to_owned(), why: why.into() }
}

/// Linux shows 15 bytes of a thread's name.
fn start(number: usize, queue: Arc<Queue>) -> std::io::Result<JoinHandle<()>> {
    thread::Builder::new().name(format!("fleche-pool-{number}")).spawn(move || work(&queue))
}

/// Runs tasks until the queue is closed and empty.
fn work(queue: &Queue) {
    let mut grant = Grant::default();
    while let Some((task, granted)) = queue.pop(&mut grant) {
        grant = granted;
        // The task itself catches panics of its body; this is for what others do on this thread when a job is done, or
        // when what a body captured is dropped.
        let outcome = job::catch(|| {
            if !task.is_cancelled() {
                with_assigned_gpus(grant.gpus.clone(), || task.run());
            }
        });
        if let Err(panic) = outcome {
            tracing::error!(%panic, "a panic after the end of a task; the thread goes on");
        }
    }
}
