//! Threads of a pool that wait amid a task, and what for.

use std::{collections::BTreeMap, sync::Arc};

use fleche_core::waiting::Awaited;

/// Threads that wait.
pub(super) struct Pauses {
    /// What names the pool.
    pool: usize,
    count: usize,
    /// What those wait for that nothing but tasks of the pool can wake, by what names their threads.
    within: BTreeMap<usize, Arc<dyn Awaited>>,
}

impl Pauses {
    /// None, of the pool with this number.
    pub(super) fn new(pool: usize) -> Self {
        Self { pool, count: 0, within: BTreeMap::new() }
    }

    /// How many threads wait.
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
        // Whoever waited holds it as well: nothing of others is dropped here.
        self.within.remove(&lane);
    }

    /// Whether no thread will go on before another task of the pool has ended.
    pub(super) fn are_endless(&self) -> bool {
        self.count > 0 && self.within.len() == self.count && !self.within.values().any(|awaited| awaited.is_over())
    }
}
