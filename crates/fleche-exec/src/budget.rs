//! `Budget`: what a pool's tasks share, and the account of what of it is free.

use std::{mem, sync::Arc};

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

/// What one task has, until it is given back.
#[derive(Debug, Default)]
pub(crate) struct Grant {
    cores: usize,
    memory_mb: u64,
    /// The GPUs that are the task's.
    pub(crate) gpus: Arc<[u32]>,
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

    /// Whether this is free now.
    pub(crate) fn has(&self, demand: Demand) -> bool {
        demand.cores <= self.cores.unwrap_or_default()
            && demand.memory_mb <= self.memory_mb.unwrap_or_default()
            && demand.gpus <= self.gpus.len()
    }

    /// Takes this away, which must be free.
    pub(crate) fn take(&mut self, Demand { cores, memory_mb, gpus }: Demand) -> Grant {
        self.cores = self.cores.map(|free| free - cores);
        self.memory_mb = self.memory_mb.map(|free| free - memory_mb);
        // Nearly every task asks for none, and shall not cost an allocation.
        let gpus = if gpus == 0 { Arc::default() } else { self.gpus.drain(..gpus).collect() };
        Grant { cores, memory_mb, gpus }
    }

    /// Takes it back.
    pub(crate) fn give_back(&mut self, grant: &mut Grant) {
        let Grant { cores, memory_mb, gpus } = mem::take(grant);
        self.cores = self.cores.map(|free| free + cores);
        self.memory_mb = self.memory_mb.map(|free| free + memory_mb);
        self.gpus.extend_from_slice(&gpus);
        self.gpus.sort_unstable();
    }
}

const CURE: &str = "ask for less, or make the pool with a larger budget";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_not_free_until_it_is_given_back() {
        let mut free = Budget { memory_mb: Some(100), gpus: vec![3, 5], ..Budget::default() }.of_workers(2);
        let whole = free.clone();
        let demand = free.demand(&Resources::new().cores(2).memory_mb(60).gpus(1)).unwrap();
        let mut grant = free.take(demand);
        assert_eq!(*grant.gpus, [3]);
        assert_eq!(free, Budget { cores: Some(0), memory_mb: Some(40), gpus: vec![5] });
        assert!(!free.has(demand));
        free.give_back(&mut grant);
        assert_eq!(free, whole);
    }

    #[test]
    fn a_grant_is_given_back_once() {
        let mut free = Budget::default().of_workers(1);
        let mut grant = free.take(Demand::default());
        free.give_back(&mut grant);
        free.give_back(&mut grant);
        assert_eq!(free.cores, Some(1));
    }
}
