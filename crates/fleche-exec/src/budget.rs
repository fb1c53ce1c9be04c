//! `Budget`: what a pool's tasks share.

mod account;

pub(crate) use account::{Account, Grant};

use fleche_core::executor::Resources;
use serde::{Deserialize, Serialize};

/// What the tasks of a pool share. Each runs once what it asks for is free, and gives it back when it has ended.
///
/// It is an account, not a fence: nothing keeps a body from taking more cores or memory than it asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Budget {
    /// Cores. Default: as many as the pool has workers. A task takes one unless it asks for another number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cores: Option<usize>,
    /// Memory, in units of 1024² bytes. Default: unknown, so that a task that asks for some is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<u64>,
    /// The ids of the GPUs. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<u32>,
}

/// What one task takes.
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
    /// With what is not said filled in, for a pool of this many workers.
    pub(crate) fn of_workers(mut self, workers: usize) -> Self {
        self.cores.get_or_insert(workers);
        self.gpus.sort_unstable();
        self.gpus.dedup();
        self
    }

    /// What these resources take.
    ///
    /// # Errors
    /// Where they ask for more than there is: what, and how much there is.
    pub(crate) fn demand(&self, resources: &Resources) -> Result<Demand, String> {
        let demand = Demand {
            cores: resources.wanted_cores().unwrap_or(1),
            memory_mb: resources.wanted_memory_mb().unwrap_or(0),
            gpus: resources.wanted_gpus().unwrap_or(0),
        };
        let cores = self.cores.unwrap_or_default();
        if demand.cores > cores {
            return Err(format!("the task asks for {} `cores`, and the pool has {cores}; {CURE}", demand.cores));
        }
        match self.memory_mb {
            None if demand.memory_mb > 0 => {
                return Err(format!("the task asks for `memory_mb`, and the pool's budget says none; {CURE}"));
            }
            Some(memory) if demand.memory_mb > memory => {
                return Err(format!(
                    "the task asks for {} `memory_mb`, and the pool has {memory}; {CURE}",
                    demand.memory_mb
                ));
            }
            _ => {}
        }
        if demand.gpus > self.gpus.len() {
            let has = self.gpus.len();
            return Err(format!("the task asks for {} `gpus`, and the pool has {has}; {CURE}", demand.gpus));
        }
        Ok(demand)
    }
}

const CURE: &str = "ask for less, or make the pool with a larger budget";
