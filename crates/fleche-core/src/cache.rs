//! `Cache`: a pair of stores, and what is counted while they are used.

mod ask;
mod breaker;
mod collect;
mod hot;
mod stale;
mod stats;
mod transfer;
mod verify;

pub(crate) use ask::{Operation, Unanswered};
pub use collect::{Collected, Gc};
pub use hot::HotTier;
pub(crate) use hot::{FIRST_ID, Hot, HotKey, NearKey, get_near, get_near_unless_due, thread_ends};
pub use stale::StalePolicy;
pub use stats::{Skip, Stats};
pub use transfer::Transferred;
pub use verify::Verified;

use std::{
    any::Any,
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use serde::de::{self, DeserializeOwned};

use crate::{
    call::{Brief, CallKey, Record, ValueRef},
    claim::Flights,
    digest::Digest,
    encoding,
    error::{Error, Result, ensure_not_forked},
    fork::ProcessLocal,
    layer::{ReadOnly, ReadOnlyConfig, Void},
    log::Throttle,
    mode::{Mode, mode},
    panics::contain,
    query::Query,
    store::{CallStore, CallStoreConfig, Entries, ValueStore, ValueStoreConfig, again_if_reopened},
};
use ask::Breakers;
use stats::Counters;

/// A store for values and a store for records, and what is counted while they are used.
///
/// A cheap handle: clones share everything. A [forked child](crate::fork) does not use its parent's caches: calls run there
/// without them, and what is asked of them directly fails with [`Error::Forked`]. What `Cache` cannot do, its stores can:
/// [`values`](Self::values) and [`calls`](Self::calls) hand them out.
///
/// # When a store fails
///
/// A store that fails costs a call nothing but time: the body runs, the value is returned, and the failure is counted in
/// [`Stats::faults`]. A store that fails three times in a row, or once by a timeout, is left alone: calls neither look up
/// nor claim nor record what they would need it for, and are counted under [`Skip::StoreLeftAlone`]. After one second one
/// call tries it again; each failure doubles the pause, up to one minute. I/O errors, errors of the engine behind a store
/// ([`Error::Backend`]) and panics count as failures; damaged entries and refusals do not. A store that can be read but not
/// written still answers hits, and one that cannot be claimed from still records. Only calls leave a store alone: `load`,
/// `query`, `evict` and the other methods of a cache always ask it.
#[derive(Clone)]
pub struct Cache {
    inner: Arc<Inner>,
    /// Whose bodies wait for what runs under this handle, presumably: those within which it was asked for.
    within: Flights,
}

struct Inner {
    values: ProcessLocal<Arc<dyn ValueStore>>,
    calls: ProcessLocal<Arc<dyn CallStore>>,
    settings: Settings,
    hot: Hot,
    counters: Counters,
    /// What was logged of the faults of the stores.
    faults: Throttle,
    breakers: Breakers,
}

/// What can be set of a cache beside its stores.
#[derive(Clone, Copy)]
struct Settings {
    store_arguments: bool,
    /// `None` leaves it to the function.
    stale: Option<StalePolicy>,
    void: bool,
    hot: HotTier,
}

impl Settings {
    const DEFAULT: Self = Self { store_arguments: true, stale: None, void: false, hot: HotTier::DEFAULT };
}

impl Cache {
    /// A cache of these two stores, of the same kind or not. Opened stores are handles: a clone may be given.
    pub fn new(values: impl ValueStore + 'static, calls: impl CallStore + 'static) -> Self {
        Self::of(Arc::new(values), Arc::new(calls), true)
    }

    /// The cache that keeps nothing: every call runs.
    pub fn void() -> Self {
        let settings = Settings { store_arguments: false, stale: None, void: true, hot: HotTier::OFF };
        Self::with_settings(Arc::new(Void), Arc::new(Void), settings, Breakers::new())
    }

    /// As [`Cache::new`], from shared stores; with or without [keeping arguments](Self::store_arguments).
    pub fn of(values: Arc<dyn ValueStore>, calls: Arc<dyn CallStore>, store_arguments: bool) -> Self {
        let settings = Settings { store_arguments, ..Settings::DEFAULT };
        Self::with_settings(values, calls, settings, Breakers::new())
    }

    /// The same stores, with or without keeping the arguments of calls that are longer than
    /// [`INLINE_LIMIT`](crate::call::INLINE_LIMIT). Kept (the default), they can be read from records later; keys are
    /// the same either way. Counting starts anew.
    pub fn store_arguments(&self, store: bool) -> Self {
        self.anew(Settings { store_arguments: store, ..self.inner.settings })
    }

    /// The same stores, with this much kept of their results in front of them; [`HotTier::DEFAULT`] unless it is said.
    /// Counting starts anew.
    ///
    /// A result that is kept so is served without asking the stores, to all clones of this handle. [`evict`](Self::evict),
    /// [`evict_all`](Self::evict_all) and reruns reach it, through whichever cache of this process. What
    /// another process evicts, and what is removed from a store itself, is served until the tier's
    /// [`max_age`](HotTier::max_age), or until it gives way to others.
    pub fn hot_tier(&self, tier: HotTier) -> Self {
        self.anew(Settings { hot: tier, ..self.inner.settings })
    }

    /// The same stores, with this policy for results that other code computed, where the function states none; `None`
    /// leaves it to the default. Counting starts anew.
    pub fn stale(&self, policy: impl Into<Option<StalePolicy>>) -> Self {
        self.anew(Settings { stale: policy.into(), ..self.inner.settings })
    }

    fn anew(&self, settings: Settings) -> Self {
        self.anew_with(settings, self.inner.breakers.anew())
    }

    fn anew_with(&self, settings: Settings, breakers: Breakers) -> Self {
        Self::with_settings(self.values().clone(), self.calls().clone(), settings, breakers)
    }

    /// The same stores, for tests: how long a failing store is left alone goes by this clock, which tells the time since a
    /// moment that stays the same. Counting starts anew.
    #[doc(hidden)]
    pub fn outage_clock(&self, clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        self.anew_with(self.inner.settings, Breakers::with_clock(Arc::new(clock)))
    }

    pub(crate) fn hot(&self) -> &Hot {
        &self.inner.hot
    }

    fn with_settings(
        values: Arc<dyn ValueStore>,
        calls: Arc<dyn CallStore>,
        settings: Settings,
        breakers: Breakers,
    ) -> Self {
        Self { inner: Arc::new(Inner::new(values, calls, settings, breakers)), within: Flights::default() }
    }

    /// This cache, for what the bodies of these flights wait for, on whatever thread.
    pub(crate) fn within(self, flights: Flights) -> Self {
        Self { within: flights, ..self }
    }

    /// The flights whose bodies wait for what runs under this handle.
    pub(crate) fn flights(&self) -> &Flights {
        &self.within
    }

    /// The store of values.
    pub fn values(&self) -> &Arc<dyn ValueStore> {
        &self.inner.values
    }

    /// The store of records.
    pub fn calls(&self) -> &Arc<dyn CallStore> {
        &self.inner.calls
    }

    /// Whether the stores have a call with this key: its record is there, and so is its result.
    pub fn contains(&self, key: &CallKey) -> Result<bool> {
        ensure_not_forked(|| THE_CACHE)?;
        self.inner.calls.brief(key)?.map_or(Ok(false), |record| self.holds(&record))
    }

    /// Returns whether the record's result is there.
    pub(crate) fn holds(&self, record: &Brief) -> Result<bool> {
        record.result.stored().map_or(Ok(true), |digest| self.inner.values.contains(digest))
    }

    /// The result under this key; `None` if the record or the result is not there.
    ///
    /// For a function that returns a `Result`, `T` is its `Ok` type.
    pub fn load<T: DeserializeOwned>(&self, key: &CallKey) -> Result<Option<T>> {
        ensure_not_forked(|| THE_CACHE)?;
        self.inner.calls.brief(key)?.map_or(Ok(None), |record| self.decode(&record.result))
    }

    /// The record under this key; `None` if there is none.
    pub fn record(&self, key: &CallKey) -> Result<Option<Record>> {
        ensure_not_forked(|| THE_CACHE)?;
        self.inner.calls.get(key)
    }

    /// The value that a record refers to; `None` if it is not there, as for arguments that were not stored.
    pub fn decode<T: DeserializeOwned>(&self, reference: &ValueRef) -> Result<Option<T>> {
        match reference {
            ValueRef::Inline(bytes) => decode(bytes.as_slice()).map(Some),
            ValueRef::Stored(digest) => self.value(digest)?.map(|bytes| decode(&bytes)).transpose(),
        }
    }

    /// The encoding that a record refers to; `None` if it is not there.
    pub fn encoded(&self, reference: &ValueRef) -> Result<Option<Bytes>> {
        match reference {
            ValueRef::Inline(bytes) => Ok(Some(Bytes::copy_from_slice(bytes.as_slice()))),
            ValueRef::Stored(digest) => self.value(digest),
        }
    }

    fn value(&self, digest: &Digest) -> Result<Option<Bytes>> {
        ensure_not_forked(|| THE_CACHE)?;
        self.inner.values.get(digest)
    }

    /// Removes the record under this key, so that the call runs anew, and an earlier one that the same code computed and
    /// that was kept when other code replaced it. Values stay: other records may refer to them. Whether there was one.
    pub fn evict(&self, key: &CallKey) -> Result<bool> {
        ensure_not_forked(|| THE_CACHE)?;
        // The code of a damaged record is unknown, which must not prevent the eviction of the call.
        let code = self.inner.calls.brief(key).ok().flatten().map(|record| record.code);
        let kept = self.remove_replaced(key, code);
        let removed = again_if_reopened(1, |_| (), || self.inner.calls.remove(key, None));
        self.forget();
        Ok(kept? | removed?)
    }

    /// Removes the records that were kept of these codes when others replaced them. Whether there was one.
    pub(crate) fn remove_replaced(&self, key: &CallKey, codes: impl IntoIterator<Item = Digest>) -> Result<bool> {
        ensure_not_forked(|| THE_CACHE)?;
        let mut removed = false;
        for code in codes {
            removed |= again_if_reopened(1, |_| (), || self.inner.calls.remove(&key.of_replaced(&code), None))?;
        }
        Ok(removed)
    }

    /// Removes the records that fulfil the query, as [`evict`](Self::evict) does, unless they were replaced meanwhile. How
    /// many were removed.
    ///
    /// # Errors
    /// Those of the store; what was removed by then stays removed. Damaged records, which are absent anyway, are passed by.
    pub fn evict_all(&self, query: &Query) -> Result<u64> {
        let mut evicted = 0;
        for found in self.query(query)? {
            match found {
                Ok((key, record)) => {
                    evicted +=
                        u64::from(again_if_reopened(1, |_| (), || self.inner.calls.remove(&key, Some(&record)))?);
                    self.forget();
                }
                Err(Error::Damaged { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(evicted)
    }

    /// The records that fulfil the query, in any order.
    pub fn query<'a>(&'a self, query: &'a Query) -> Result<Entries<'a, (CallKey, Record)>> {
        ensure_not_forked(|| THE_CACHE)?;
        self.inner.calls.find(query)
    }

    /// What was counted through this handle and its clones, on all threads of this process, and in workers elsewhere as
    /// far as their executor [told](Self::count_elsewhere).
    pub fn stats(&self) -> Stats {
        self.inner.counters.sum()
    }

    /// For executors whose workers are in other processes: adds what a worker has counted for this cache.
    pub fn count_elsewhere(&self, stats: &Stats) {
        if stats.forgotten > 0 {
            Hot::forget();
        }
        self.inner.counters.add(stats);
    }

    /// For executors whose workers are in other processes: forgets what the [hot tier](Self::hot_tier) keeps, so that
    /// whatever was evicted meanwhile, elsewhere, is not served from here.
    pub fn cool(&self) {
        Hot::forget();
    }

    /// Something was evicted or replaced.
    pub(crate) fn forget(&self) {
        Hot::forget();
        self.inner.counters.forgotten();
    }

    pub(crate) fn is_void(&self) -> bool {
        self.inner.settings.void
    }

    /// Whether asking the stores may take a while.
    pub(crate) fn may_block(&self) -> bool {
        self.inner.values.may_block() || self.inner.calls.may_block()
    }

    pub(crate) fn stores_arguments(&self) -> bool {
        self.inner.settings.store_arguments
    }

    /// The policy for results that other code computed; `None` where it is left to the function.
    pub(crate) fn stale_policy(&self) -> Option<StalePolicy> {
        self.inner.settings.stale
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.inner.counters
    }

    /// A fault of a store, which must not fail the user's call: counted, and logged at most once a minute for each cause.
    pub(crate) fn fault(&self, error: &Error, function: &str) {
        self.inner.counters.fault();
        let faults = self.faults();
        crate::log::warn_rarely!(faults, error.kind(), function, %error, "the cache failed; the call runs without it");
    }

    /// What was logged of the faults of the stores.
    pub(crate) fn faults(&self) -> &Throttle {
        &self.inner.faults
    }
}

/// The name of the cache in the errors that a forked child gets.
pub(crate) const THE_CACHE: &str = "the cache";

/// The value with this encoding. A panic in its `Deserialize` is an error.
fn decode<T: DeserializeOwned>(encoded: &[u8]) -> Result<T> {
    let decoded = contain(|| encoding::from_slice(encoded));
    Ok(decoded.unwrap_or_else(|panic| Err(de::Error::custom(format!("its `Deserialize` {panic}"))))?)
}

/// A cache remembered, without keeping it.
#[derive(Clone, Debug)]
pub(crate) struct WeakCache(Weak<Inner>);

impl Cache {
    pub(crate) fn downgrade(&self) -> WeakCache {
        WeakCache(Arc::downgrade(&self.inner))
    }
}

impl WeakCache {
    /// Whether this is a handle of it.
    pub(crate) fn is(&self, cache: &Cache) -> bool {
        // What is remembered keeps its address to itself, even after it is gone.
        std::ptr::eq(self.0.as_ptr(), Arc::as_ptr(&cache.inner))
    }
}

impl Inner {
    fn new(values: Arc<dyn ValueStore>, calls: Arc<dyn CallStore>, settings: Settings, breakers: Breakers) -> Self {
        let mode = mode();
        let keeps_nothing = values.keeps_nothing() || calls.keeps_nothing();
        let (values, calls) = if mode == Mode::ReadOnly { read_only(values, calls) } else { (values, calls) };
        let hot = if keeps_nothing || mode == Mode::Off { HotTier::OFF } else { settings.hot };
        Self {
            values: ProcessLocal::new(values),
            calls: ProcessLocal::new(calls),
            settings: Settings { void: settings.void || mode == Mode::Off, hot, ..settings },
            hot: Hot::new(hot),
            counters: Counters::default(),
            faults: Throttle::new(),
            breakers,
        }
    }
}

type Stores = (Arc<dyn ValueStore>, Arc<dyn CallStore>);

/// The stores, without writing to them.
fn read_only(values: Arc<dyn ValueStore>, calls: Arc<dyn CallStore>) -> Stores {
    let has_values = (&*values.config() as &dyn Any).is::<ReadOnlyConfig<Box<dyn ValueStoreConfig>>>();
    let has_calls = (&*calls.config() as &dyn Any).is::<ReadOnlyConfig<Box<dyn CallStoreConfig>>>();
    let values = if has_values { values } else { Arc::new(ReadOnly(values)) };
    (values, if has_calls { calls } else { Arc::new(ReadOnly(calls)) })
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { store_arguments, stale, void, hot } = self.inner.settings;
        if void {
            return f.write_str("Cache::void()");
        }
        let mut cache = f.debug_struct("Cache");
        // A forked child must not ask the stores, whose `Debug` may take locks.
        if !ProcessLocal::is_inherited(&self.inner.values) {
            cache.field("values", self.values()).field("calls", self.calls());
        }
        cache.field("store_arguments", &store_arguments).field("stale", &stale).field("hot_tier", &hot);
        cache.finish_non_exhaustive()
    }
}
