//! `Budget`: the resources that a pool's tasks share.

mod account;

pub(crate) use account::{Grant, ResourceTracker};

use fleche_core::executor::Resources;
use serde::{Deserialize, Serialize};

/// The resources that a pool's tasks share. A task starts when the resources that it asks for are free, and returns
/// them when it ends.
///
/// A budget is bookkeeping: a body can use more cores or memory than its task asked for. Only process pools also
/// enforce `memory_mb`, as a limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Budget {
    /// The number of cores. Default: one per worker of the pool. A task takes one unless it asks for another number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cores: Option<usize>,
    /// The memory in MiB. Default: unknown, and a task that asks for memory is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<u64>,
    /// The ids of the GPUs. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<u32>,
}

/// The share of a budget that one task takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Demand {
    cores: usize,
    memory_mb: u64,
    gpus: usize,
}

impl Default for Demand {
    fn default() -> Self {
        Self { cores: 1, memory_mb: 0, gpus: 0 }
    }
}

impl Budget {
    /// Fills in the defaults, for a pool of this many workers.
    pub(crate) fn of_workers(mut self, workers: usize) -> Self {
        self.cores.get_or_insert(workers);
        self.gpus.sort_unstable();
        self.gpus.dedup();
        self
    }

    /// Returns the share of the budget that these resources take.
    ///
    /// # Errors
    /// Fails with a message if the resources exceed the whole budget. The message names the first such resource and the
    /// amount that the pool has.
    pub(crate) fn demand(&self, resources: &Resources) -> Result<Demand, String> {
        let demand = Demand {
            cores: resources.wanted_cores().unwrap_or(1),
            memory_mb: resources.wanted_memory_mb().unwrap_or(0),
            gpus: resources.wanted_gpus().unwrap_or(0),
        };
        let cores = self.cores.unwrap_or_default();
        if demand.cores > cores {
            return Err(format!("the task asks for {} `cores`, but the pool has {cores}; {CURE}", demand.cores));
        }
        match self.memory_mb {
            None if demand.memory_mb > 0 => {
                return Err(format!(
                    "the task asks for `memory_mb`, but the pool's budget sets no `memory_mb`; {CURE}"
                ));
            }
            Some(memory) if demand.memory_mb > memory => {
                return Err(format!(
                    "the task asks for {} `memory_mb`, but the pool has {memory}; {CURE}",
                    demand.memory_mb
                ));
            }
            _ => {}
        }
        if demand.gpus > self.gpus.len() {
            let has = self.gpus.len();
            return Err(format!("the task asks for {} `gpus`, but the pool has {has}; {CURE}", demand.gpus));
        }
        Ok(demand)
    }
}

const CURE: &str = "ask for less, or create the pool with a larger budget";
