//! What flights are synchronised with. `tests/model.rs` puts a model checker's own in its place.

use std::sync::LazyLock;
pub(super) use std::sync::{
    Arc, Condvar, Mutex, MutexGuard, PoisonError,
    atomic::{
        AtomicU64,
        Ordering::{Acquire, Release},
    },
};

pub(super) use crate::fork::is_child;

/// In how many parts the table of flights is.
pub(super) const PARTS: usize = 64;

/// A value of the whole process, made when it is first asked for.
pub(super) struct Global<T>(LazyLock<T>);

impl<T> Global<T> {
    pub(super) const fn new(make: fn() -> T) -> Self {
        Self(LazyLock::new(make))
    }

    pub(super) fn get(&'static self) -> &'static T {
        &self.0
    }
}
