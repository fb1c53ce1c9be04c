//! `ProcessPoolConfig`: the configuration of a process pool.

use std::sync::Arc;

use fleche_core::{Executor, Result, executor::ExecutorConfig};
use serde::{Deserialize, Serialize};

use super::ProcessPool;
use crate::budget::Budget;

/// The configuration of a [`ProcessPool`]: `{"type":"processes","processes":4}`, with `budget` and `replace_after` if
/// they were set. Each `open` creates a separate pool, and fails for 0 processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessPoolConfig {
    pub(super) processes: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) budget: Option<Budget>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) replace_after: Option<u64>,
}

impl ProcessPoolConfig {
    /// Configures a pool of up to this many processes.
    pub fn new(processes: usize) -> Self {
        Self { processes, budget: None, replace_after: None }
    }

    /// Sets the resources that the pool's tasks share. Default: one core per process.
    pub fn with_budget(self, budget: Budget) -> Self {
        Self { budget: Some(budget), ..self }
    }

    /// Replaces each worker after it has run this many tasks, for bodies that leak. Default: workers are kept.
    pub fn replace_after(self, tasks: u64) -> Self {
        Self { replace_after: Some(tasks), ..self }
    }
}

#[typetag::serde(name = "processes")]
impl ExecutorConfig for ProcessPoolConfig {
    fn open(&self) -> Result<Arc<dyn Executor>> {
        Ok(Arc::new(ProcessPool::of(self.clone())?))
    }
}
