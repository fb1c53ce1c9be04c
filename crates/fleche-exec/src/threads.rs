//! `ThreadPool`: tasks on threads of this process.

mod config;
mod lane;
mod line;
mod pauses;
mod queue;

pub use config::ThreadPoolConfig;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use fleche_core::{
    Error, Executor, Job, Result, Task,
    executor::{ExecutorConfig, Resources, SubmitError},
    fork::ProcessLocal,
    store::Reach,
    waiting,
};

use crate::{budget::Budget, foreign::of_this_process};
use queue::Queue;

/// A fixed number of threads that take tasks in the order of their submission.
///
/// A cheap handle: clones are the same pool. A task that panics ends as
/// [`JobError::Panicked`](fleche_core::JobError::Panicked), and its thread takes the next one; a task cancelled before
/// its turn is passed over.
///
/// **The end.** Dropping the last handle waits until every accepted task has run, and so does
/// [`shutdown`](Self::shutdown), whichever comes first. In a task of the pool itself, where it holds the last handle,
/// neither can wait for that task: there both return at once, and the threads run what was accepted and end by
/// themselves.
///
/// **Waiting within tasks.** A task may submit to its own pool and wait for what it submitted, in a pool of one thread
/// too. While it blocks on a [`Job`], of whatever pool, it does not count against the pool's size: another thread, of up
/// to 1024, runs tasks in its stead, and the cores that it asked for are free for others. What it waits for in its own
/// pool goes before all other tasks. A single job that has not started runs at once, amid the task that waits for it and
/// on its thread, up to 8 deep:
///
/// - a task should not wait while it holds a lock, or has borrowed a thread-local variable, that another one takes;
/// - what is active in the task, its tracing spans, its GPUs and its processor time are its own all the same; a
///   subscriber or dispatcher that it has set for its thread is not;
/// - nothing runs amid a panic, nor where a task waits with a timeout, or for several jobs
///   ([`as_completed`](fleche_core::job::as_completed), [`join_all`](fleche_core::job::join_all)): other threads run those.
///
/// Other waits are not seen: on locks, on channels, and on a job that is awaited as a future, by a `block_on` in the task.
/// They keep their place.
///
/// Where all tasks that run wait for others of the pool, and the one to start next cannot, because they are so many that
/// there is no thread more or because they hold the memory or GPUs that it asks for, it ends as
/// [`JobError::Rejected`](fleche_core::JobError::Rejected). A chain of tasks, each of which waits for the next, may be 8000
/// long.
///
/// **Where.** Its threads work in the program's working directory, though an isolated body made the pool or waits for it.
///
/// **Resources.** A task may ask for `cores`, `memory_mb` and `gpus` of the pool's [`Budget`]; it starts when all of it is
/// free. Tasks start strictly in order: while the first waits for much, smaller ones behind it wait too, so that no
/// stream of small tasks can starve it. One that asks for more than the whole budget is refused at once. A task that waits
/// keeps its memory and its GPUs: where what it waits for needs more than the rest, that waits for other tasks to end, and
/// is refused where none can. The ids of its
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

/// What handles share. Tasks and threads hold the queue only, so that this is dropped with the last handle.
struct Threads {
    queue: ProcessLocal<Arc<Queue>>,
    /// All that tasks share, with what is not said filled in.
    budget: Budget,
    /// As it was asked for.
    config: ThreadPoolConfig,
    size: usize,
    /// Held by whoever waits for the threads to end, so that whoever comes second waits as well.
    ending: Mutex<()>,
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
        let queue = ProcessLocal::new(Queue::new(threads, &budget));
        #[cfg(unix)]
        crate::interrupt::register(Arc::downgrade(&queue) as _);
        let pool = Threads { queue, budget, config, size: threads, ending: Mutex::default() };
        for number in 1..=threads {
            // Where this fails, dropping the pool ends those that were started.
            pool.queue.start().map_err(|error| {
                refused(format!("thread {number} of {threads} does not start: {error}; ask for fewer"))
            })?;
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

    /// How many threads it has to run tasks.
    pub fn threads(&self) -> usize {
        self.0.size
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

    /// Cancels every accepted task that has not started: those jobs end as
    /// [`JobError::Cancelled`](fleche_core::JobError::Cancelled). The pool goes on. How many there were.
    pub fn cancel_waiting(&self) -> usize {
        if ProcessLocal::is_inherited(&self.0.queue) {
            return 0;
        }
        self.0.queue.cancel_all()
    }

    /// Accepts nothing more, in any handle: from here on submitted jobs end as
    /// [`JobError::Rejected`](fleche_core::JobError::Rejected). Returns when all accepted tasks have run and the threads
    /// have ended; in a task of the pool itself, at once. A repetition waits likewise.
    pub fn shutdown(&self) {
        self.0.end();
    }
}

impl Threads {
    fn end(&self) {
        // A forked child has none of the threads, and leaves the tasks to its parent.
        if ProcessLocal::is_inherited(&self.queue) {
            return;
        }
        self.queue.close();
        if lane::works_for(&self.queue) {
            return;
        }
        waiting::blocking(|| {
            let _ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner);
            while let Some(thread) = self.queue.take_thread() {
                // Itself, where what a thread keeps for itself holds the last handle: that is dropped when it has ended.
                if thread.thread().id() != thread::current().id() && thread.join().is_err() {
                    fleche_core::log::error!("a thread of the pool ended by a panic");
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
        let task = of_this_process(task, &self.0.queue, "the thread pool")?;
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
