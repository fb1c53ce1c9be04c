//! Builds the single flight of `src/claim/` with the primitives of a model checker.

/// The methods of a store's claim that single flight uses.
pub(crate) trait ClaimGuard: Send + Sync {
    fn is_expired(&self) -> bool;
}

#[allow(dead_code, unreachable_pub, missing_docs)]
#[path = "../../src/claim/in_flight.rs"]
pub(crate) mod in_flight;
#[allow(dead_code, unreachable_pub, missing_docs)]
#[path = "../../src/claim/leader.rs"]
pub(crate) mod leader;
#[allow(dead_code, unreachable_pub, missing_docs)]
#[path = "../../src/claim/poll_tracking.rs"]
mod poll_tracking;

/// Replaces `src/claim/sync.rs`.
mod sync {
    use std::marker::PhantomData;
    pub(super) use std::sync::Arc;

    pub(super) use fleche_core::spi::LockResultExt;
    use loom::lazy_static::Lazy;
    pub(super) use loom::sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Release},
        },
    };

    pub(super) const fn is_child() -> bool {
        false
    }

    pub(super) const SHARDS: usize = 2;

    pub(super) struct Global<T>(Lazy<T>);

    impl<T> Global<T> {
        pub(super) const fn new(make: fn() -> T) -> Self {
            Self(Lazy { init: make, _p: PhantomData })
        }

        pub(super) fn get(&'static self) -> &'static T {
            self.0.get()
        }
    }
}
