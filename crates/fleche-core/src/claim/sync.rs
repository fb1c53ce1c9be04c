//! The synchronization primitives of single flight. `tests/model.rs` replaces them with those of a model checker.

use std::sync::LazyLock;
pub(super) use std::sync::{
    Arc, Condvar, Mutex, MutexGuard,
    atomic::{
        AtomicU64,
        Ordering::{Acquire, Release},
    },
};

pub(super) use crate::runtime::{fork::is_child, lock::LockResultExt};

/// The number of shards of the table of in-flight calls.
pub(super) const SHARDS: usize = 64;

/// A process-wide value, created on first use.
pub(super) struct Global<T>(LazyLock<T>);

impl<T> Global<T> {
    pub(super) const fn new(make: fn() -> T) -> Self {
        Self(LazyLock::new(make))
    }

    pub(super) fn get(&'static self) -> &'static T {
        &self.0
    }
}
