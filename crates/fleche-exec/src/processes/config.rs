//! How to make a process pool elsewhere.

use std::sync::Arc;

use fleche_core::{Executor, Result, executor::ExecutorConfig};
use serde::{Deserialize, Serialize};

use super::ProcessPool;

/// Describes a [`ProcessPool`]: `{"type":"processes","processes":4}`. Each `open` makes a pool of its own, and fails for 0
/// processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessPoolConfig {
    processes: usize,
}

impl ProcessPoolConfig {
    /// A pool of this many processes.
    pub fn new(processes: usize) -> Self {
        Self { processes }
    }
}

#[typetag::serde(name = "processes")]
impl ExecutorConfig for ProcessPoolConfig {
    fn open(&self) -> Result<Arc<dyn Executor>> {
        Ok(Arc::new(ProcessPool::new(self.processes)?))
    }
}
