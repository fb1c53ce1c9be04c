//! What the crates of this workspace share beyond the public API. There is no compatibility between versions: executors and
//! backends outside this workspace use the public API alone.
//!
//! [`CacheSpi`], [`BindingSpi`] and [`TaskSpi`] add methods to types of the public API.

use std::time::Duration;

pub use crate::argument::known_files::KnownFile;
pub use crate::bound::{executable::Executable, function_ref::FunctionRef};
pub use crate::cache::{WeakCache, circuit_breaker::is_timeout};
pub use crate::claim::{
    in_flight::{CallId, InFlightCall, InFlightCalls},
    leader::{Leader, Role, join_call},
    remote_cycles::PublishedWait,
};
pub use crate::config::{file::search_directory as config_directory, named::remote_from_environment};
pub use crate::context::{binding::WeakBinding, stack::enclosing_calls, task_info::with_known_miss};
pub use crate::executor::remote::{Isolator, PortableCall, Reply, RunIsolated};
pub use crate::job::{error::catch_panic, state::CancelHook};
pub use crate::runtime::internal_threads::{PendingGuard, PendingReplies, ReaderThreadGuard, WaiterThreadGuard};
pub use crate::runtime::{
    background_threads::{BackgroundThreads, Locked, Next},
    counted::counted,
    lock::LockResultExt,
    log,
    mode::worker_environment,
    process_id, thread_spawner, written_file,
};

use crate::{
    cache::{Cache, SharedTier, Stats},
    call::CallKey,
    claim::{Claim, ClaimHolder},
    context::{Binding, BindingConfig},
    error::Result,
    executor::{SubmitError, Task},
};

/// Forked children that execute no other program: they leave everything of fleche to their parent. Their memoized calls run
/// without the cache, stores refuse their operations, and nothing that the parent opened is closed in the child.
pub mod fork {
    pub use crate::runtime::fork::{ProcessLocal, is_child};
}

/// Methods of [`Cache`] for executors that ask the stores on behalf of their workers.
pub trait CacheSpi {
    /// Requests the store's claim of a call. Returns `None` if the store is left alone because it fails.
    ///
    /// # Errors
    /// Fails with the error of the store.
    fn claim_for_call(&self, key: &CallKey) -> Result<Option<Claim>>;

    /// Returns the holder of a call's claim, or `None` if the holder is not known or the store is left alone because it
    /// fails.
    ///
    /// # Errors
    /// Fails with the error of the store.
    fn holder_for_call(&self, key: &CallKey) -> Result<Option<ClaimHolder>>;

    /// Returns whether the stores have the record under this key and its result, or `None` if a store is left alone
    /// because it fails.
    ///
    /// # Errors
    /// Fails with the error of the store.
    fn contains_for_call(&self, key: &CallKey) -> Result<Option<bool>>;

    /// Adds what another process has counted to the counters of this cache.
    fn merge_stats(&self, stats: &Stats);

    /// Empties the hot tiers of all caches of this process, because another process has replaced or evicted records.
    fn invalidate_hot(&self);

    /// Returns a cache of the same stores whose pauses for failing stores are measured by this clock, for tests. The clock
    /// returns the time since a fixed moment. The new cache counts from zero.
    #[must_use]
    fn outage_clock(&self, clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self;

    /// Returns a reference that does not keep the cache open.
    fn downgrade(&self) -> WeakCache;
}

impl CacheSpi for Cache {
    fn claim_for_call(&self, key: &CallKey) -> Result<Option<Claim>> {
        Self::claim_for_call(self, key)
    }

    fn holder_for_call(&self, key: &CallKey) -> Result<Option<ClaimHolder>> {
        Self::holder_for_call(self, key)
    }

    fn contains_for_call(&self, key: &CallKey) -> Result<Option<bool>> {
        Self::contains_for_call(self, key)
    }

    fn merge_stats(&self, stats: &Stats) {
        Self::merge_stats(self, stats);
    }

    fn invalidate_hot(&self) {
        SharedTier::invalidate_all();
    }

    fn outage_clock(&self, clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self::outage_clock(self, clock)
    }

    fn downgrade(&self) -> WeakCache {
        Self::downgrade(self)
    }
}

/// Methods of [`Binding`] for executors that send bindings to other processes.
pub trait BindingSpi: Sized {
    /// Returns the in-flight calls whose bodies wait for the bound work.
    fn in_flight_calls(&self) -> &InFlightCalls;

    /// Returns the described binding with this cache instead of the described one.
    fn from_config(config: BindingConfig, cache: Cache) -> Self;

    /// Returns a copy for comparison, which does not keep the cache open.
    fn downgrade(&self) -> WeakBinding;
}

impl BindingSpi for Binding {
    fn in_flight_calls(&self) -> &InFlightCalls {
        Self::in_flight_calls(self)
    }

    fn from_config(config: BindingConfig, cache: Cache) -> Self {
        Self::from_config(config, cache)
    }

    fn downgrade(&self) -> WeakBinding {
        Self::downgrade(self)
    }
}

/// Methods of [`Task`] for executors that run tasks in other processes.
pub trait TaskSpi: Sized {
    /// Splits the task into the call, for another process of this binary to run, and the reply, which completes the job.
    ///
    /// # Errors
    /// Returns the task with the reason if its function or result cannot leave the process, or if its arguments cannot be
    /// encoded.
    #[allow(clippy::result_large_err)] // The task would be moved anyway.
    fn into_remote(self) -> std::result::Result<(PortableCall, Reply), SubmitError>;
}

impl TaskSpi for Task {
    fn into_remote(self) -> std::result::Result<(PortableCall, Reply), SubmitError> {
        Self::into_remote(self)
    }
}
