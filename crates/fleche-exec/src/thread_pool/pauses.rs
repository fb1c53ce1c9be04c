//! The threads of a pool that wait within a task, and what they wait for.

use std::{collections::BTreeMap, sync::Arc};

use fleche_core::job::blocking_hooks::Awaited;

/// The threads that wait.
pub(super) struct BlockedThreads {
    /// The number that identifies the pool.
    pool: usize,
    count: usize,
    /// The waits that only tasks of the pool can end, with the numbers of their threads as keys.
    within: BTreeMap<usize, Arc<dyn Awaited>>,
}

impl BlockedThreads {
    /// Creates an empty set for the pool with this number.
    pub(super) fn new(pool: usize) -> Self {
        Self { pool, count: 0, within: BTreeMap::new() }
    }

    /// Returns how many threads wait.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn add(&mut self, lane: usize, awaited: Option<Arc<dyn Awaited>>) {
        self.count += 1;
        if let Some(awaited) = awaited.filter(|awaited| awaited.is_of(self.pool)) {
            self.within.insert(lane, awaited);
        }
    }

    pub(super) fn remove(&mut self, lane: usize) {
        self.count -= 1;
        // The waiting thread holds another reference, so no user code is dropped under the lock.
        self.within.remove(&lane);
    }

    /// Returns whether no waiting thread can resume before another task of the pool has ended.
    pub(super) fn are_endless(&self) -> bool {
        self.count > 0 && self.within.len() == self.count && !self.within.values().any(|awaited| awaited.is_over())
    }
}
