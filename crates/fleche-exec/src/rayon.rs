//! `RayonExecutor`: runs tasks on a rayon pool.

use std::{fmt, sync::Arc};

use fleche_core::{
    Error, Executor, Result, Task,
    executor::{ExecutorConfig, SubmitError},
    spi::{fork::ProcessLocal, thread_spawner},
    store::Reach,
};
use rayon::ThreadPool;
use serde::{Deserialize, Serialize};

use crate::serial::{of_this_process, run_task};

/// Runs tasks on a rayon pool, alongside the pool's other work.
///
/// A thread that waits inside a task (for a job, a lock, a file) is lost to the pool during the wait: use a
/// [`ThreadPool`](crate::ThreadPool) for such calls.
///
/// This executor is for calls that are *submitted*. A body that uses `par_iter` does not need it: within
/// [`Cache::install`](fleche_core::Cache::install), calls in the closures use the caller's cache.
///
/// A `RayonExecutor` is a cheap handle: clones use the same pool. Dropping it does not cancel submitted tasks.
#[derive(Clone)]
pub struct RayonExecutor {
    /// The separate pool; `None` for the global one.
    pool: Option<Arc<ThreadPool>>,
    process: ProcessLocal<()>,
}

impl RayonExecutor {
    /// Creates an executor that uses this pool.
    pub fn new(pool: impl Into<Arc<ThreadPool>>) -> Self {
        Self { pool: Some(pool.into()), process: ProcessLocal::default() }
    }

    /// Creates an executor that uses rayon's global pool, which starts with the first task.
    pub fn global() -> Self {
        Self { pool: None, process: ProcessLocal::default() }
    }

    /// Returns the number of threads of the pool.
    pub fn threads(&self) -> usize {
        self.pool.as_ref().map_or_else(rayon::current_num_threads, |pool| pool.current_num_threads())
    }
}

impl Executor for RayonExecutor {
    fn submit_task(&self, task: Task) -> Result<(), SubmitError> {
        let task = of_this_process(task, &self.process, "the rayon pool")?;
        let run = move || run_task(task);
        match &self.pool {
            Some(pool) => pool.spawn_fifo(run),
            None => rayon::spawn_fifo(run),
        }
        Ok(())
    }

    fn config(&self) -> Box<dyn ExecutorConfig> {
        Box::new(RayonConfig { threads: self.pool.as_ref().map(|pool| pool.current_num_threads()) })
    }

    fn reach(&self) -> Reach {
        Reach::Process
    }
}

impl fmt::Debug for RayonExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RayonExecutor").field("pool", &self.pool).finish_non_exhaustive()
    }
}

/// The configuration of a [`RayonExecutor`]: `{"type":"rayon"}` for the global pool, `{"type":"rayon","threads":4}` for
/// a separate pool, which each `open` creates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RayonConfig {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    threads: Option<usize>,
}

impl RayonConfig {
    /// Creates the configuration of a separate pool of this many threads.
    pub fn with_threads(threads: usize) -> Self {
        Self { threads: Some(threads) }
    }
}

#[typetag::serde(name = "rayon")]
impl ExecutorConfig for RayonConfig {
    fn open(&self) -> Result<Arc<dyn Executor>> {
        let Some(threads) = self.threads else { return Ok(Arc::new(RayonExecutor::global())) };
        let refused = |why: String| Error::Config { place: "rayon pool".to_owned(), why };
        if threads == 0 {
            return Err(refused(
                "a pool of 0 threads cannot run tasks; set `threads` to at least 1, or leave it out".into(),
            ));
        }
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .spawn_handler(|thread| thread_spawner::spawn("fleche-rayon", move || thread.run()).map(drop))
            .build();
        let pool = pool.map_err(|error| refused(format!("cannot start {threads} threads: {error}; ask for fewer")))?;
        Ok(Arc::new(RayonExecutor::new(pool)))
    }
}
