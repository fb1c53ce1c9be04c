//! `Cache`: a store of values and a store of calls, with counters and a hot tier.

mod builder;
pub(crate) mod circuit_breaker;
mod hot_tier;
mod maintenance;

mod ask;
mod stats;
mod transfer;

pub use builder::CacheBuilder;
pub(crate) use circuit_breaker::{Operation, Unanswered};
pub use hot_tier::HotTier;
pub(crate) use hot_tier::{
    EncodedKey, FIRST_ID, SharedTier, TierKey, get_thread_local, get_thread_local_unless_due, thread_ends,
};
pub use maintenance::{Gc, GcReport, VerifyReport};
pub use stats::{SkipReason, Stats};
pub use transfer::TransferReport;

use std::{
    any::Any,
    fmt,
    str::FromStr,
    sync::{Arc, Weak},
};

use bytes::Bytes;
use serde::{
    Deserialize, Serialize,
    de::{self, DeserializeOwned},
};

use crate::{
    call::{CallKey, Record, RecordSummary, ValueRef},
    claim::InFlightCalls,
    digest::Digest,
    encoding,
    error::{Error, Result},
    layer::{ReadOnly, ReadOnlyConfig, Void},
    runtime::fork::ensure_not_forked,
    runtime::{
        fork::ProcessLocal,
        log::Throttle,
        mode::{Mode, mode},
        panics::contain,
    },
    store::{CallStore, CallStoreConfig, Entries, ValueStore, ValueStoreConfig, query::Query, retry_if_reopened},
};
use circuit_breaker::{Breakers, Clock};
use stats::Counters;

/// A store of values and a store of records, with counters of their use.
///
/// [`Cache::new`] creates one of two open stores, [`Cache::builder`] one with other settings, [`Cache::from_config`] opens both
/// stores. A cache is a cheap handle: clones share everything. A [forked child](crate::spi::fork) does not use its parent's caches: its
/// calls run without them, and direct operations on them fail with [`Error::Forked`]. For operations that `Cache` does not
/// have, use its stores, which [`values`](Self::values) and [`calls`](Self::calls) return.
///
/// # When a store fails
///
/// A failing store costs a call only time: the body runs, its value is returned, and the failure is counted in
/// [`Stats::faults`]. A store that fails three times in a row, or once by a timeout, is left alone for one second: calls do
/// without the operation that fails (lookup, claim or record), and also without claims and records if lookups fail. Calls
/// that are not recorded are counted under [`SkipReason::StoreLeftAlone`]. Then one call tries the store again; each failure doubles
/// the pause, up to one minute.
///
/// I/O errors, errors of the engine behind a store ([`Error::Backend`]) and panics count as failures; damaged entries and
/// refusals do not. A store that can be read but not written still answers hits, and a store whose claims fail still records.
/// Only calls leave a store alone: `load`, `query`, `evict` and the other methods of a cache always ask it.
#[derive(Clone)]
pub struct Cache {
    inner: Arc<Inner>,
    /// The in-flight calls in whose bodies the handle was obtained. They presumably wait for the calls made through it.
    within: InFlightCalls,
}

struct Inner {
    values: ProcessLocal<Arc<dyn ValueStore>>,
    calls: ProcessLocal<Arc<dyn CallStore>>,
    settings: Settings,
    hot: SharedTier,
    counters: Counters,
    /// Limits how often faults of the stores are logged.
    faults: Throttle,
    breakers: Breakers,
    /// Whether no other process can write records.
    is_exclusive: bool,
}

/// The settings of a cache other than its stores.
#[derive(Clone, Copy)]
struct Settings {
    store_arguments: bool,
    /// The policy for results of other code; `None` leaves it to the function.
    stale: Option<StalePolicy>,
    void: bool,
    /// The tier that was asked for. A cache whose stores keep nothing has none.
    hot: HotTier,
}

/// The policy of a call for a recorded result that was computed by other code of its function.
///
/// The policy is the first of these that is set: `#[fleche(stale = "…")]` of the function; the policy of the cache
/// ([`CacheBuilder::stale`], or `stale = "…"` in its configuration); the default, which is `Rerun`, or `Warn`
/// for functions that state a `version`.
///
/// Code is compared by its tokens: see [`fleche`](macro@crate::fleche#edited-code) for changes that they do not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StalePolicy {
    /// The call runs again, with one warning per function. The record that is replaced is kept for the code that computed it.
    Rerun,
    /// The result is served, with one warning per function.
    Warn,
    /// The result is served.
    Serve,
}

impl StalePolicy {
    const ALL: [Self; 3] = [Self::Rerun, Self::Warn, Self::Serve];
}

/// Writes the policy as in a configuration: `rerun`, `warn` or `serve`.
impl fmt::Display for StalePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Rerun => "rerun",
            Self::Warn => "warn",
            Self::Serve => "serve",
        })
    }
}

impl FromStr for StalePolicy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|policy| policy.to_string() == text).ok_or_else(|| Error::Config {
            place: "stale policy".to_owned(),
            why: format!("`{text}` is not a policy: use `rerun`, `warn` or `serve`"),
        })
    }
}

impl Settings {
    const DEFAULT: Self = Self { store_arguments: true, stale: None, void: false, hot: HotTier::DEFAULT };
}

impl Cache {
    /// Returns a cache that keeps nothing: every call runs.
    pub fn void() -> Self {
        let settings = Settings { void: true, ..Settings::DEFAULT };
        Self::with_settings(Arc::new(Void), Arc::new(Void), settings, Clock::default())
    }

    pub(crate) fn hot(&self) -> &SharedTier {
        &self.inner.hot
    }

    fn with_settings(values: Arc<dyn ValueStore>, calls: Arc<dyn CallStore>, settings: Settings, clock: Clock) -> Self {
        Self { inner: Arc::new(Inner::new(values, calls, settings, clock)), within: InFlightCalls::default() }
    }

    /// Returns this cache for calls that the bodies of these in-flight calls wait for, on any thread.
    pub(crate) fn within(self, flights: InFlightCalls) -> Self {
        Self { within: flights, ..self }
    }

    /// Returns the in-flight calls whose bodies wait for calls made through this handle.
    pub(crate) fn flights(&self) -> &InFlightCalls {
        &self.within
    }

    /// Returns the store of values.
    pub fn values(&self) -> &Arc<dyn ValueStore> {
        &self.inner.values
    }

    /// Returns the store of records.
    pub fn calls(&self) -> &Arc<dyn CallStore> {
        &self.inner.calls
    }

    /// Returns the hot tier. It is [`HotTier::OFF`] if the stores keep nothing or the process runs with `FLECHE=off`.
    pub fn hot_tier(&self) -> HotTier {
        self.inner.hot.settings()
    }

    /// Returns whether arguments longer than [`INLINE_LIMIT`](crate::call::INLINE_LIMIT) are stored.
    pub fn stores_arguments(&self) -> bool {
        self.inner.settings.store_arguments
    }

    /// Returns the policy for results that other code computed, or `None` if it is left to the function.
    pub fn stale_policy(&self) -> Option<StalePolicy> {
        self.inner.settings.stale
    }

    /// Returns whether the stores have the record under this key and its result.
    pub fn contains(&self, key: &CallKey) -> Result<bool> {
        ensure_not_forked(|| THE_CACHE)?;
        self.inner.calls.summary(key)?.map_or(Ok(false), |record| self.holds(&record))
    }

    /// Returns whether the stores have the record's result.
    pub(crate) fn holds(&self, record: &RecordSummary) -> Result<bool> {
        record.result.stored().map_or(Ok(true), |digest| self.inner.values.contains(digest))
    }

    /// Returns the result under this key, or `None` if the record or the result is missing.
    ///
    /// For a function that returns a `Result`, `T` is its `Ok` type.
    pub fn load<T: DeserializeOwned>(&self, key: &CallKey) -> Result<Option<T>> {
        ensure_not_forked(|| THE_CACHE)?;
        self.inner.calls.summary(key)?.map_or(Ok(None), |record| self.decode(&record.result))
    }

    /// Returns the record under this key, or `None` if there is none.
    pub fn record(&self, key: &CallKey) -> Result<Option<Record>> {
        ensure_not_forked(|| THE_CACHE)?;
        self.inner.calls.get(key)
    }

    /// Returns the value that a record refers to, or `None` if it is missing, as is an argument that was not stored.
    pub fn decode<T: DeserializeOwned>(&self, reference: &ValueRef) -> Result<Option<T>> {
        match reference {
            ValueRef::Inline(bytes) => decode(bytes.as_slice()).map(Some),
            ValueRef::Stored(digest) => self.value(digest)?.map(|bytes| decode(&bytes)).transpose(),
        }
    }

    /// Returns the encoding of the value that a record refers to, or `None` if it is missing.
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

    /// Removes the record under this key, so that the call runs again. Also removes an earlier record of the same code that was
    /// kept when other code replaced it. Values stay, because other records may refer to them. Returns whether there was a record.
    pub fn evict(&self, key: &CallKey) -> Result<bool> {
        ensure_not_forked(|| THE_CACHE)?;
        // The code of a damaged record is unknown, which must not prevent the eviction of the call.
        let code = self.inner.calls.summary(key).ok().flatten().map(|record| record.code);
        let kept = self.remove_replaced(key, code);
        let removed = retry_if_reopened(1, |_| (), || self.inner.calls.remove(key, None));
        self.forget();
        Ok(kept? | removed?)
    }

    /// Removes the records of these codes that were kept when other code replaced them. Returns whether there was one.
    pub(crate) fn remove_replaced(&self, key: &CallKey, codes: impl IntoIterator<Item = Digest>) -> Result<bool> {
        ensure_not_forked(|| THE_CACHE)?;
        let mut removed = false;
        for code in codes {
            removed |= retry_if_reopened(1, |_| (), || self.inner.calls.remove(&key.for_replaced(&code), None))?;
        }
        Ok(removed)
    }

    /// Removes the records that match the query, and returns their number. A record that is replaced between the query and its
    /// removal stays.
    ///
    /// # Errors
    /// Fails with the errors of the store. Records that were removed before stay removed. Damaged records count as absent and are
    /// skipped.
    pub fn evict_all(&self, query: &Query) -> Result<u64> {
        let mut evicted = 0;
        for found in self.query(query)? {
            match found {
                Ok((key, record)) => {
                    evicted +=
                        u64::from(retry_if_reopened(1, |_| (), || self.inner.calls.remove(&key, Some(&record)))?);
                    self.forget();
                }
                Err(Error::Damaged { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(evicted)
    }

    /// Returns the records that match the query, in any order.
    pub fn query<'a>(&'a self, query: &'a Query) -> Result<Entries<'a, (CallKey, Record)>> {
        ensure_not_forked(|| THE_CACHE)?;
        self.inner.calls.find(query)
    }

    /// Returns the counts of this handle and its clones, from all threads of this process, and from workers in other processes as
    /// far as their executor reports them.
    pub fn stats(&self) -> Stats {
        self.inner.counters.sum()
    }

    /// Adds the counts of a worker for this cache. For executors whose workers are in other processes.
    pub(crate) fn merge_stats(&self, stats: &Stats) {
        if stats.invalidations > 0 {
            SharedTier::invalidate_all();
        }
        self.inner.counters.add(stats);
    }

    /// Empties the hot tiers after something was evicted or replaced.
    pub(crate) fn forget(&self) {
        SharedTier::invalidate_all();
        self.inner.counters.invalidations();
    }

    pub(crate) fn is_void(&self) -> bool {
        self.inner.settings.void
    }

    /// Returns whether operations on the stores may block.
    pub(crate) fn may_block(&self) -> bool {
        self.inner.values.may_block() || self.inner.calls.may_block()
    }

    /// Returns whether no other process can write records.
    pub(crate) fn is_exclusive(&self) -> bool {
        self.inner.is_exclusive
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.inner.counters
    }

    /// Counts a fault of a store, which must not fail the user's call. Logs each cause at most once a minute.
    pub(crate) fn fault(&self, error: &Error, function: &str) {
        self.inner.counters.fault();
        let faults = self.faults();
        crate::runtime::log::warn_rarely!(faults, error.kind(), function, error = %error.report(), "the cache failed; the call runs without it");
    }

    /// Returns the throttle that limits how often faults of the stores are logged.
    pub(crate) fn faults(&self) -> &Throttle {
        &self.inner.faults
    }
}

/// The name of the cache in errors of a forked child.
pub(crate) const THE_CACHE: &str = "the cache";

/// Decodes a value. A panic in its `Deserialize` is returned as an error.
fn decode<T: DeserializeOwned>(encoded: &[u8]) -> Result<T> {
    let decoded = contain(|| encoding::from_slice(encoded));
    Ok(decoded.unwrap_or_else(|panic| Err(de::Error::custom(format!("its `Deserialize` {panic}"))))?)
}

/// A reference to a cache that does not keep it open.
#[derive(Clone, Debug)]
pub struct WeakCache(Weak<Inner>);

impl Cache {
    /// Returns a reference that does not keep the cache open.
    pub(crate) fn downgrade(&self) -> WeakCache {
        WeakCache(Arc::downgrade(&self.inner))
    }
}

impl WeakCache {
    /// Returns whether the cache is open.
    pub fn is_open(&self) -> bool {
        self.0.strong_count() > 0
    }

    /// Returns the cache, or `None` if it is closed.
    pub fn upgrade(&self) -> Option<Cache> {
        self.0.upgrade().map(|inner| Cache { inner, within: InFlightCalls::default() })
    }

    /// Returns whether this handle belongs to the cache.
    pub fn is(&self, cache: &Cache) -> bool {
        // A weak reference keeps the allocation, so no other cache can get its address.
        std::ptr::eq(self.0.as_ptr(), Arc::as_ptr(&cache.inner))
    }
}

impl Inner {
    fn new(values: Arc<dyn ValueStore>, calls: Arc<dyn CallStore>, settings: Settings, clock: Clock) -> Self {
        let mode = mode();
        let keeps_nothing = values.keeps_nothing() || calls.keeps_nothing();
        let (values, calls) = if mode == Mode::ReadOnly { read_only(values, calls) } else { (values, calls) };
        let is_exclusive = calls.is_exclusive();
        let hot = if keeps_nothing || mode == Mode::Off { HotTier::OFF } else { settings.hot };
        Self {
            values: ProcessLocal::new(values),
            calls: ProcessLocal::new(calls),
            settings: Settings { void: settings.void || mode == Mode::Off, ..settings },
            hot: SharedTier::new(hot),
            counters: Counters::default(),
            faults: Throttle::new(),
            breakers: Breakers::new(clock),
            is_exclusive,
        }
    }
}

type Stores = (Arc<dyn ValueStore>, Arc<dyn CallStore>);

/// Wraps the stores in read-only layers, unless they already are read-only.
fn read_only(values: Arc<dyn ValueStore>, calls: Arc<dyn CallStore>) -> Stores {
    let has_values = (&*values.config() as &dyn Any).is::<ReadOnlyConfig<Box<dyn ValueStoreConfig>>>();
    let has_calls = (&*calls.config() as &dyn Any).is::<ReadOnlyConfig<Box<dyn CallStoreConfig>>>();
    let values = if has_values { values } else { Arc::new(ReadOnly(values)) };
    (values, if has_calls { calls } else { Arc::new(ReadOnly(calls)) })
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { store_arguments, stale, void, .. } = self.inner.settings;
        if void {
            return f.write_str("Cache::void()");
        }
        let mut cache = f.debug_struct("Cache");
        // A forked child must not ask the stores, whose `Debug` may take locks.
        if !ProcessLocal::is_inherited(&self.inner.values) {
            cache.field("values", self.values()).field("calls", self.calls());
        }
        cache.field("store_arguments", &store_arguments).field("stale", &stale).field("hot_tier", &self.hot_tier());
        cache.finish_non_exhaustive()
    }
}
