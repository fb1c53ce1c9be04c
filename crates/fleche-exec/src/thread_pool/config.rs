//! `ThreadPoolConfig`: the configuration of a thread pool.

use std::sync::Arc;

use fleche_core::{Executor, Result, executor::ExecutorConfig};
use serde::{Deserialize, Serialize};

use super::ThreadPool;
use crate::budget::Budget;

/// The configuration of a [`ThreadPool`]: `{"type":"threads","threads":4}`. Each `open` creates a separate pool, and
/// fails for 0 threads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThreadPoolConfig {
    threads: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    budget: Option<Budget>,
}

impl ThreadPoolConfig {
    /// Configures a pool of this many threads.
    pub fn new(threads: usize) -> Self {
        Self { threads, budget: None }
    }

    /// Configures a pool of this many threads with this budget.
    pub fn with_budget(threads: usize, budget: Budget) -> Self {
        Self { threads, budget: Some(budget) }
    }
}

#[typetag::serde(name = "threads")]
impl ExecutorConfig for ThreadPoolConfig {
    fn open(&self) -> Result<Arc<dyn Executor>> {
        Ok(Arc::new(ThreadPool::with_budget(self.threads, self.budget.clone().unwrap_or_default())?))
    }
}
