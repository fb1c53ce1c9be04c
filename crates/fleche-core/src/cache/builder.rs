//! `CacheBuilder`: creates a cache from its stores and settings.

use std::{any::Any, fmt, sync::Arc, time::Duration};

use super::{Cache, HotTier, Settings, StalePolicy, circuit_breaker::Clock};
use crate::store::{CallStore, ValueStore};

/// Creates a [`Cache`] from its stores and settings; [`Cache::builder`] returns one.
///
/// Both stores are required: without them, [`build`](Self::build) does not compile. Everything else has a default.
///
/// ```
/// use fleche_core::{Cache, cache::{HotTier, StalePolicy}};
/// use fleche_store_memory::{MemoryCalls, MemoryValues};
///
/// let cache = Cache::builder()
///     .values(MemoryValues::new())
///     .calls(MemoryCalls::new())
///     .hot_tier(HotTier::OFF)
///     .stale(StalePolicy::Warn)
///     .build();
/// assert_eq!(cache.hot_tier(), HotTier::OFF);
///
/// // Another cache of the same stores, which differs in one setting.
/// let without_arguments = cache.to_builder().store_arguments(false).build();
/// assert!(!without_arguments.stores_arguments());
/// ```
///
/// ```compile_fail,E0277
/// # use fleche_core::Cache;
/// # use fleche_store_memory::MemoryValues;
/// let cache = Cache::builder().values(MemoryValues::new()).build(); // There is no store of records.
/// ```
#[derive(Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct CacheBuilder<V = (), C = ()> {
    values: V,
    calls: C,
    settings: Settings,
    clock: Clock,
}

impl Cache {
    /// Creates a cache of these two stores, which may be of different kinds, with the default settings. Open stores are handles,
    /// so a clone can be passed; an `Arc` or a `Box` of a store is a store too.
    ///
    /// Short for `Cache::builder().values(values).calls(calls).build()`; see [`CacheBuilder`] for the settings.
    pub fn new(values: impl ValueStore + 'static, calls: impl CallStore + 'static) -> Self {
        Self::builder().values(values).calls(calls).build()
    }

    /// Returns a builder, which needs both stores.
    pub fn builder() -> CacheBuilder {
        CacheBuilder { values: (), calls: (), settings: Settings::DEFAULT, clock: Clock::default() }
    }

    /// Returns a builder with the stores and settings of this cache, for a cache that differs from it in some of them. The new
    /// cache has a hot tier of its own and counts from zero.
    pub fn to_builder(&self) -> CacheBuilder<Arc<dyn ValueStore>, Arc<dyn CallStore>> {
        let (values, calls) = (self.values().clone(), self.calls().clone());
        CacheBuilder { values, calls, settings: self.inner.settings, clock: self.inner.breakers.clock() }
    }

    /// Returns a cache of the same stores whose pauses for failing stores are measured by this clock, for tests. The clock
    /// returns the time since a fixed moment. The new cache counts from zero.
    pub(crate) fn outage_clock(&self, clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        CacheBuilder { clock: Clock::Set(Arc::new(clock)), ..self.to_builder() }.build()
    }
}

impl<V, C> CacheBuilder<V, C> {
    /// Sets the store of values. Required.
    pub fn values<N: ValueStore + 'static>(self, store: N) -> CacheBuilder<N, C> {
        // A cache of other stores than those of `Cache::void` is an ordinary one.
        let settings = Settings { void: false, ..self.settings };
        CacheBuilder { values: store, calls: self.calls, settings, clock: self.clock }
    }

    /// Sets the store of records. Required.
    pub fn calls<N: CallStore + 'static>(self, store: N) -> CacheBuilder<V, N> {
        let settings = Settings { void: false, ..self.settings };
        CacheBuilder { values: self.values, calls: store, settings, clock: self.clock }
    }

    /// Sets the hot tier, which keeps results in memory in front of the stores. Default: [`HotTier::DEFAULT`].
    ///
    /// A result in the hot tier is served to all clones of the cache without asking the stores. [`Cache::evict`],
    /// [`Cache::evict_all`] and reruns through any cache of this process empty the hot tier. A result that another process
    /// evicts, or that is removed through a store itself, is served until the tier's [`max_age`](HotTier::max_age), or until
    /// other results displace it.
    pub fn hot_tier(mut self, tier: HotTier) -> Self {
        self.settings.hot = tier;
        self
    }

    /// Sets whether arguments longer than [`INLINE_LIMIT`](crate::call::INLINE_LIMIT) are stored, so that they can be read from
    /// records later. Keys are the same in both cases. Default: true.
    pub fn store_arguments(mut self, store: bool) -> Self {
        self.settings.store_arguments = store;
        self
    }

    /// Sets the policy for results that other code computed, for functions that state none. `None`, the default, leaves it to the
    /// function: see [`StalePolicy`].
    pub fn stale(mut self, policy: impl Into<Option<StalePolicy>>) -> Self {
        self.settings.stale = policy.into();
        self
    }

    /// Creates the cache. Does not compile unless both stores are given.
    pub fn build(self) -> Cache
    where
        V: ValueStore + 'static,
        C: CallStore + 'static,
    {
        let values = shared(self.values, |store| Arc::new(store) as Arc<dyn ValueStore>);
        let calls = shared(self.calls, |store| Arc::new(store) as Arc<dyn CallStore>);
        Cache::with_settings(values, calls, self.settings, self.clock)
    }
}

/// Returns the store behind a shared pointer, which it may already be.
fn shared<S: 'static, D: ?Sized + 'static>(store: S, share: impl FnOnce(S) -> Arc<D>) -> Arc<D> {
    match (&store as &dyn Any).downcast_ref::<Arc<D>>() {
        Some(shared) => Arc::clone(shared),
        None => share(store),
    }
}

impl<V: fmt::Debug, C: fmt::Debug> fmt::Debug for CacheBuilder<V, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { store_arguments, stale, hot, .. } = self.settings;
        let mut builder = f.debug_struct("CacheBuilder");
        builder.field("values", &self.values).field("calls", &self.calls);
        builder.field("store_arguments", &store_arguments).field("stale", &stale).field("hot_tier", &hot);
        builder.finish_non_exhaustive()
    }
}
