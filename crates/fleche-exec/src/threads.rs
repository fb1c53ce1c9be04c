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
    executor::{ExecutorConfig, SubmitError},
    job,
    store::Reach,
};

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
#[derive(Clone)]
pub struct ThreadPool(Arc<Threads>);

/// What handles share. Tasks and workers hold the queue only, so that this is dropped with the last handle.
struct Threads {
    queue: Arc<Queue>,
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
        if threads == 0 {
            return Err(refused("a pool of 0 threads runs nothing; ask for at least 1, or for one per core"));
        }
        let queue = Arc::new(Queue::default());
        let mut pool = Threads { queue, ids: Vec::new(), running: Mutex::default() };
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
        let closed = "the thread pool was shut down; submit before that, or make another pool";
        self.0.queue.push(task).map_err(|task| task.refuse(closed))
    }

    fn config(&self) -> Box<dyn ExecutorConfig> {
        Box::new(ThreadPoolConfig::new(self.threads()))
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
    while let Some(task) = queue.pop() {
        // The task itself catches panics of its body; this is for what others do on this thread when a job is done, or
        // when what a body captured is dropped.
        let outcome = job::catch(|| {
            if !task.is_cancelled() {
                task.run();
            }
        });
        if let Err(panic) = outcome {
            tracing::error!(%panic, "a panic after the end of a task; the thread goes on");
        }
    }
}
