//! An executor around a third-party pool: `PoolConfig`, `PoolExecutor`, and one `impl` block for each.

use std::sync::Arc;

use fleche_core::executor::{Executor, ExecutorConfig, ExecutorExt, SubmitError};
use fleche_core::{Cache, Result, Task, fleche, store::Reach, wrap_executor};
use fleche_store_memory::{MemoryCalls, MemoryValues};

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)] #[rustfmt::skip] // Keeps the example short.
struct PoolConfig { threads: usize }

#[typetag::serde(name = "threadpool")]
impl ExecutorConfig for PoolConfig {
    fn open(&self) -> Result<Arc<dyn Executor>> {
        Ok(Arc::new(PoolExecutor(threadpool::ThreadPool::new(self.threads))))
    }
}

#[derive(Debug)]
struct PoolExecutor(threadpool::ThreadPool);

#[rustfmt::skip]
impl Executor for PoolExecutor {
    fn submit_task(&self, task: Task) -> Result<(), SubmitError> {
        self.0.execute(|| task.run());
        Ok(())
    }
    fn config(&self) -> Box<dyn ExecutorConfig> { Box::new(PoolConfig { threads: self.0.max_count() }) }
    fn reach(&self) -> Reach { Reach::Process }
}

#[fleche]
fn square(x: u64) -> u64 {
    x * x
}

pub(crate) fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cache = Cache::new(MemoryValues::new(), MemoryCalls::new());
    let _active = cache.enter();
    let pool = wrap_executor(PoolConfig { threads: 2 }.open()?);
    for _ in 0..2 {
        let squares = pool.map(square, (0..10).map(|x| (x,))).collect::<Result<Vec<_>, _>>()?;
        assert_eq!(squares[9], 81);
    }
    // The second time, no call reaches the pool.
    assert_eq!((cache.stats().computed, cache.stats().hits), (10, 10));
    Ok(())
}
