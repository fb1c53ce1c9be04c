//! `Budget`: the resources that a pool's tasks share; `ResourceTracker`: the free part of a budget.

use std::{fmt, mem, sync::Arc};

use fleche_core::{executor::Resources, spi::counted};
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

/// Writes what is set: `8 cores, 4096 MiB, 2 GPUs`, or `one core per worker`.
impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cores {
            Some(cores) => counted(cores, "core", "cores").fmt(f)?,
            None => f.write_str("one core per worker")?,
        }
        if let Some(memory) = self.memory_mb {
            write!(f, ", {memory} MiB")?;
        }
        if self.gpus.is_empty() { Ok(()) } else { write!(f, ", {}", counted(self.gpus.len(), "GPU", "GPUs")) }
    }
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

/// The free part of a pool's budget. The number of free cores is negative if tasks resume while others use their cores.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ResourceTracker {
    cores: i64,
    memory_mb: u64,
    gpus: Vec<u32>,
}

/// The resources that one task holds until it gives them back.
#[derive(Debug, Default)]
pub(crate) struct Grant {
    cores: usize,
    memory_mb: u64,
    /// The ids of the task's GPUs.
    pub(crate) gpus: Arc<[u32]>,
}

impl Grant {
    pub(crate) fn cores(&self) -> usize {
        self.cores
    }

    /// Removes the cores from the grant and returns their number. The task waits; [`with_cores`](Self::with_cores) puts
    /// them back when it resumes.
    pub(crate) fn without_cores(&mut self) -> usize {
        mem::take(&mut self.cores)
    }

    pub(crate) fn with_cores(&mut self, cores: usize) {
        self.cores = cores;
    }
}

impl ResourceTracker {
    /// Creates the tracker of a budget whose defaults are filled in, with everything free.
    pub(crate) fn new(budget: &Budget) -> Self {
        let Budget { cores, memory_mb, gpus } = budget.clone();
        Self { cores: signed(cores.unwrap_or_default()), memory_mb: memory_mb.unwrap_or_default(), gpus }
    }

    /// Returns whether the whole demand is free.
    pub(crate) fn has(&self, demand: Demand) -> bool {
        signed(demand.cores) <= self.cores && self.has_all_but_cores(demand)
    }

    /// Returns whether the memory and the GPUs of the demand are free. Unlike cores, these cannot be overdrawn.
    pub(crate) fn has_all_but_cores(&self, demand: Demand) -> bool {
        demand.memory_mb <= self.memory_mb && demand.gpus <= self.gpus.len()
    }

    /// Takes the demand out of the free part. Its memory and GPUs must be free.
    pub(crate) fn take(&mut self, Demand { cores, memory_mb, gpus }: Demand) -> Grant {
        self.take_cores(cores);
        self.memory_mb -= memory_mb;
        // Nearly all tasks ask for no GPUs, and need no allocation.
        let gpus = if gpus == 0 { Arc::default() } else { self.gpus.drain(..gpus).collect() };
        Grant { cores, memory_mb, gpus }
    }

    /// Returns the grant's resources to the free part, and empties the grant.
    pub(crate) fn give_back(&mut self, grant: &mut Grant) {
        let Grant { cores, memory_mb, gpus } = mem::take(grant);
        self.give_back_cores(cores);
        self.memory_mb += memory_mb;
        self.gpus.extend_from_slice(&gpus);
        self.gpus.sort_unstable();
    }

    pub(crate) fn take_cores(&mut self, cores: usize) {
        self.cores -= signed(cores);
    }

    pub(crate) fn give_back_cores(&mut self, cores: usize) {
        self.cores += signed(cores);
    }
}

/// Converts a number of cores to a signed integer. No machine has more than `u32::MAX` cores.
fn signed(cores: usize) -> i64 {
    i64::from(u32::try_from(cores).unwrap_or(u32::MAX))
}

/// Returns the number of cores that this process may use, or 1 if it is unknown.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

#[cfg(test)]
mod tests {
    use fleche_core::Resources;

    use super::*;

    #[test]
    fn taken_resources_are_not_free_until_they_are_given_back() {
        let budget = Budget { memory_mb: Some(100), gpus: vec![3, 5], ..Budget::default() }.of_workers(2);
        let demand = budget.demand(&Resources::new().cores(2).memory_mb(60).gpus(1)).unwrap();
        let mut free = ResourceTracker::new(&budget);
        let mut grant = free.take(demand);
        assert_eq!(*grant.gpus, [3]);
        assert_eq!(free, ResourceTracker { cores: 0, memory_mb: 40, gpus: vec![5] });
        assert!(!free.has(demand));
        free.give_back(&mut grant);
        assert_eq!(free, ResourceTracker::new(&budget));
    }

    #[test]
    fn giving_back_a_grant_twice_frees_it_once() {
        let mut free = ResourceTracker::new(&Budget::default().of_workers(1));
        let mut grant = free.take(Demand::default());
        free.give_back(&mut grant);
        free.give_back(&mut grant);
        assert_eq!(free.cores, 1);
    }

    #[test]
    fn cores_are_overdrawn_if_others_use_them_after_a_wait() {
        let mut free = ResourceTracker::new(&Budget::default().of_workers(1));
        let mut waiting = free.take(Demand::default());
        let cores = waiting.without_cores();
        free.give_back_cores(cores);
        let mut other = free.take(Demand::default());
        free.take_cores(cores);
        waiting.with_cores(cores);
        assert!(!free.has(Demand::default()));
        free.give_back(&mut waiting);
        assert!(!free.has(Demand::default()));
        free.give_back(&mut other);
        assert!(free.has(Demand::default()));
    }

    #[test]
    fn display_writes_what_is_set() {
        assert_eq!(Budget::default().to_string(), "one core per worker");
        let budget = Budget { cores: Some(1), memory_mb: Some(4096), gpus: vec![3, 5] };
        assert_eq!(budget.to_string(), "1 core, 4096 MiB, 2 GPUs");
    }
}
