//! `Binding`: a snapshot of a thread's active context, to be activated on another thread.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::metadata::Kinds;
use crate::{
    cache::{Cache, WeakCache},
    claim::{InFlightCall, InFlightCalls},
    config::CacheConfig,
    encoding,
    error::Result,
    metadata::MetadataKind,
};

/// A snapshot of the active cache, kinds of metadata and tags. Cheap to clone; may be sent to any thread.
#[derive(Clone, Debug)]
pub struct Binding {
    pub(super) cache: Cache,
    pub(super) kinds: Kinds,
    pub(super) rest: Arc<Rest>,
}

/// The parts of a binding that are rarely set.
#[derive(Debug)]
pub(super) struct Rest {
    pub(super) tags: BTreeMap<String, String>,
    pub(super) rerun: bool,
    /// The in-flight calls whose bodies presumably wait for the bound work.
    pub(super) flights: InFlightCalls,
    /// The `in_cache` call that the binding comes from, if any.
    pub(super) carried: Option<InCacheCount>,
}

/// A count of `in_cache` calls so far, which orders memoized calls and `in_cache` calls in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct InCacheCount(u64);

static IN_CACHE_CALLS: AtomicU64 = AtomicU64::new(0);

impl InCacheCount {
    /// Returns the current count. Only reads it, so calls on several threads do not contend.
    pub(crate) fn so_far() -> Self {
        Self(IN_CACHE_CALLS.load(Relaxed))
    }

    /// Counts another `in_cache` call and returns its number.
    pub(super) fn count_one() -> Self {
        Self(IN_CACHE_CALLS.fetch_add(1, Relaxed) + 1)
    }
}

impl Binding {
    /// Returns the bound cache.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Returns whether calls run even if their record exists.
    pub(crate) fn is_rerun(&self) -> bool {
        self.rest.rerun
    }

    /// Returns the in-flight calls whose bodies wait for the bound work.
    pub(crate) fn in_flight_calls(&self) -> &InFlightCalls {
        &self.rest.flights
    }

    /// Returns this binding as part of the body of this in-flight call.
    pub(crate) fn within(self, flight: &Arc<InFlightCall>) -> Self {
        let Rest { tags, rerun, carried, .. } = &*self.rest;
        let flights = [flight.clone()].into_iter().collect();
        Self { rest: Arc::new(Rest { tags: tags.clone(), rerun: *rerun, flights, carried: *carried }), ..self }
    }

    /// Returns the kinds of metadata to collect and the tags.
    pub(crate) fn metadata(&self) -> (Kinds, BTreeMap<String, String>) {
        (self.kinds.clone(), self.rest.tags.clone())
    }
}

/// Returns all of these in-flight calls, each once.
pub(super) fn union(all: &[InFlightCalls]) -> InFlightCalls {
    let mut union: Vec<Arc<InFlightCall>> = Vec::new();
    for flight in all.iter().flat_map(|flights| flights.iter()) {
        if !union.iter().any(|known| Arc::ptr_eq(known, flight)) {
            union.push(flight.clone());
        }
    }
    union.into_iter().collect()
}

/// A [`Binding`] for comparison, which does not keep its stores open.
#[derive(Clone, Debug)]
pub struct WeakBinding {
    cache: WeakCache,
    kinds: Kinds,
    rest: Arc<Rest>,
}

impl Binding {
    /// Returns a weak copy, for comparison by [`WeakBinding::is`].
    pub(crate) fn downgrade(&self) -> WeakBinding {
        let Self { cache, kinds, rest } = self;
        let Rest { tags, rerun, .. } = &**rest;
        // Without the in-flight calls, which do not count in the comparison.
        let rest = Rest { tags: tags.clone(), rerun: *rerun, flights: InFlightCalls::default(), carried: None };
        let rest = Arc::new(rest);
        WeakBinding { cache: cache.downgrade(), kinds: kinds.clone(), rest }
    }
}

impl WeakBinding {
    /// Returns whether `binding` has the same cache (a clone of its handle), kinds of metadata, tags and rerun flag.
    pub fn is(&self, binding: &Binding) -> bool {
        self.cache.is(&binding.cache)
            && Arc::ptr_eq(&self.kinds, &binding.kinds)
            && self.rest.tags == binding.rest.tags
            && self.rest.rerun == binding.rest.rerun
    }
}

/// The description of a [`Binding`], from which another process can activate it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BindingConfig {
    /// The configuration of the bound cache.
    pub cache: CacheConfig,
    /// The kinds of metadata to collect.
    pub metadata: Vec<Box<dyn MetadataKind>>,
    /// The tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Whether calls run even if their record exists.
    #[serde(default)]
    pub rerun: bool,
}

impl Binding {
    /// Returns the description of this binding.
    ///
    /// # Errors
    /// Fails if a kind of metadata cannot be serialized.
    pub fn config(&self) -> Result<BindingConfig> {
        let kinds: Vec<&dyn MetadataKind> = self.kinds.iter().map(|kind| &**kind).collect();
        let metadata = encoding::from_slice(&encoding::to_vec(&kinds)?)?;
        Ok(BindingConfig { cache: self.cache.config(), metadata, tags: self.rest.tags.clone(), rerun: self.rest.rerun })
    }

    /// Opens the described cache and returns the binding.
    ///
    /// # Errors
    /// Fails with the errors of opening the stores.
    pub(crate) fn open(config: BindingConfig) -> Result<Self> {
        let cache = Cache::from_config(&config.cache)?;
        Ok(Self::from_config(config, cache))
    }

    /// Returns the described binding with this cache instead of the described one.
    pub(crate) fn from_config(config: BindingConfig, cache: Cache) -> Self {
        let BindingConfig { metadata, tags, rerun, .. } = config;
        let rest = Rest { tags, rerun, flights: InFlightCalls::default(), carried: None };
        Self { cache, kinds: metadata.into_iter().map(Arc::from).collect(), rest: Arc::new(rest) }
    }
}

/// Serializes the [`BindingConfig`]. Fails if a part cannot be described.
impl Serialize for Binding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.config().map_err(|error| ser::Error::custom(error.report()))?.serialize(serializer)
    }
}

/// Opens the described cache, and fails if that is not possible.
impl<'de> Deserialize<'de> for Binding {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::open(BindingConfig::deserialize(deserializer)?).map_err(|error| de::Error::custom(error.report()))
    }
}
