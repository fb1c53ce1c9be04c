//! How to make a process pool elsewhere.

use std::sync::Arc;

use fleche_core::{Executor, Result, executor::ExecutorConfig};
use serde::{Deserialize, Serialize};

use super::ProcessPool;
use crate::budget::Budget;

/// Describes a [`ProcessPool`]: `{"type":"processes","processes":4}`, with `budget` and `replace_after` where they were
/// chosen. Each `open` makes a pool of its own, and fails for 0
/// processes.
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
    /// A pool of this many processes.
    pub fn new(processes: usize) -> Self {
        Self { processes, budget: None, replace_after: None }
    }

    /// What the pool's tasks share. Default: a core for each process.
    pub fn with_budget(self, budget: Budget) -> Self {
        Self { budget: Some(budget), ..self }
    }

    /// Ends each worker when it has run so many tasks, and starts another in its place: for bodies that leak. Default:
    /// workers are kept.
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
