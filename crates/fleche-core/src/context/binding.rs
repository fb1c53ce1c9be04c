//! `Binding`: what was active at one moment, to be made active elsewhere.

use std::{
    collections::BTreeMap,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::{Entry, Guard, Kinds, active, bound, enter, flights, is_rerun, metadata};
use crate::{
    cache::{Cache, WeakCache},
    claim::{Flight, Flights},
    config::CacheConfig,
    encoding,
    error::Result,
    metadata::MetadataKind,
};

/// The cache, the kinds of metadata and the tags that were active at one moment. Cheap to clone; may go to any thread.
#[derive(Clone, Debug)]
pub struct Binding {
    pub(super) cache: Cache,
    pub(super) kinds: Kinds,
    pub(super) rest: Arc<Rest>,
}

/// What seldom changes the course of things.
#[derive(Debug)]
pub(super) struct Rest {
    pub(super) tags: BTreeMap<String, String>,
    pub(super) rerun: bool,
    /// Whose bodies wait for what is bound, presumably.
    pub(super) flights: Flights,
    /// Which `in_cache` it comes from, if any.
    carried: Option<Moves>,
}

/// How many futures were put into caches with `in_cache`: the moments that calls and such moves are ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moves(u64);

static MOVES: AtomicU64 = AtomicU64::new(0);

impl Moves {
    /// Now. Only read, so that calls on several threads do not wait for one another.
    pub(crate) fn so_far() -> Self {
        Self(MOVES.load(Relaxed))
    }

    /// One more, after all that were so far.
    fn one_more() -> Self {
        Self(MOVES.fetch_add(1, Relaxed) + 1)
    }
}

impl Binding {
    /// What is active on this thread now.
    pub fn current() -> Self {
        Self::with_cache(Cache::clone(&active()))
    }

    /// What is active on this thread now, with this cache.
    pub(crate) fn with_cache(cache: Cache) -> Self {
        let (kinds, tags) = metadata();
        let carried = bound().and_then(|binding| binding.rest.carried);
        Self { cache, kinds, rest: Arc::new(Rest { tags, rerun: is_rerun(), flights: flights(), carried }) }
    }

    /// What is active on this thread now, with this cache, for a future that is put into it.
    pub(crate) fn carrying(cache: Cache) -> Self {
        let (kinds, tags) = metadata();
        let flights = union(&[flights(), cache.flights().clone()]);
        let carried = Some(Moves::one_more());
        Self { cache, kinds, rest: Arc::new(Rest { tags, rerun: is_rerun(), flights, carried }) }
    }

    /// This, for a call that is first polled here: with the cache that it was put into since that moment, alone or inside
    /// another future.
    pub(crate) fn carried_since(self, called: Moves) -> Self {
        let Some(carrying) = bound().filter(|binding| binding.rest.carried.is_some_and(|carried| carried > called))
        else {
            return self;
        };
        let Rest { tags, rerun, flights, .. } = &*self.rest;
        let rest = Rest {
            tags: tags.clone(),
            rerun: *rerun,
            flights: union(&[flights.clone(), carrying.rest.flights.clone()]),
            carried: carrying.rest.carried,
        };
        Self { cache: carrying.cache.clone(), kinds: self.kinds, rest: Arc::new(rest) }
    }

    /// The bound cache.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Whether calls run even where their record exists.
    pub(crate) fn is_rerun(&self) -> bool {
        self.rest.rerun
    }

    /// The flights whose bodies wait for what is bound.
    #[doc(hidden)]
    pub fn flights(&self) -> &Flights {
        &self.rest.flights
    }

    /// The same, as part of this flight's body.
    pub(crate) fn within(self, flight: &Arc<Flight>) -> Self {
        let Rest { tags, rerun, carried, .. } = &*self.rest;
        let flights = [flight.clone()].into_iter().collect();
        Self { rest: Arc::new(Rest { tags: tags.clone(), rerun: *rerun, flights, carried: *carried }), ..self }
    }

    /// The kinds of metadata to collect, and the tags.
    pub(crate) fn metadata(&self) -> (Kinds, BTreeMap<String, String>) {
        (self.kinds.clone(), self.rest.tags.clone())
    }

    /// Makes this, and nothing of what was active before, active on this thread until the guard is dropped.
    pub fn enter(&self) -> Guard {
        enter(Entry::Bound(Rc::new(self.clone()), Rc::new(self.cache.clone())))
    }
}

/// All of these flights, each once.
fn union(all: &[Flights]) -> Flights {
    let mut union: Vec<Arc<Flight>> = Vec::new();
    for flight in all.iter().flat_map(|flights| flights.iter()) {
        if !union.iter().any(|known| Arc::ptr_eq(known, flight)) {
            union.push(flight.clone());
        }
    }
    union.into_iter().collect()
}

/// A [`Binding`] remembered, without keeping its stores open.
#[derive(Clone, Debug)]
pub struct WeakBinding {
    cache: WeakCache,
    kinds: Kinds,
    rest: Arc<Rest>,
}

impl Binding {
    /// What [`WeakBinding::is`] compares with.
    pub fn downgrade(&self) -> WeakBinding {
        let Self { cache, kinds, rest } = self;
        let Rest { tags, rerun, .. } = &**rest;
        // Not the flights, which are nothing to remember.
        let rest = Rest { tags: tags.clone(), rerun: *rerun, flights: Flights::default(), carried: None };
        let rest = Arc::new(rest);
        WeakBinding { cache: cache.downgrade(), kinds: kinds.clone(), rest }
    }
}

impl WeakBinding {
    /// Whether this is a binding to the same cache (a clone of its handle), kinds of metadata and tags.
    pub fn is(&self, binding: &Binding) -> bool {
        self.cache.is(&binding.cache)
            && Arc::ptr_eq(&self.kinds, &binding.kinds)
            && self.rest.tags == binding.rest.tags
            && self.rest.rerun == binding.rest.rerun
    }
}

/// A [`Binding`] described: what to make active in another process.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BindingConfig {
    /// How to open the bound cache.
    pub cache: CacheConfig,
    /// The kinds of metadata to collect.
    pub metadata: Vec<Box<dyn MetadataKind>>,
    /// The tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Whether calls run even where their record exists.
    #[serde(default)]
    pub rerun: bool,
}

impl Binding {
    /// Its description.
    ///
    /// # Errors
    /// Where a kind of metadata cannot be described.
    pub fn config(&self) -> Result<BindingConfig> {
        let kinds: Vec<&dyn MetadataKind> = self.kinds.iter().map(|kind| &**kind).collect();
        let metadata = encoding::from_slice(&encoding::to_vec(&kinds)?)?;
        Ok(BindingConfig { cache: self.cache.config(), metadata, tags: self.rest.tags.clone(), rerun: self.rest.rerun })
    }

    /// What the description says; opens the cache.
    ///
    /// # Errors
    /// What the stores say when they are opened.
    pub(crate) fn open(config: BindingConfig) -> Result<Self> {
        let cache = Cache::from_config(&config.cache)?;
        Ok(Self::of_config(config, cache))
    }

    /// What the description says, with this cache in place of the one that it describes.
    pub fn of_config(config: BindingConfig, cache: Cache) -> Self {
        let BindingConfig { metadata, tags, rerun, .. } = config;
        let rest = Rest { tags, rerun, flights: Flights::default(), carried: None };
        Self { cache, kinds: metadata.into_iter().map(Arc::from).collect(), rest: Arc::new(rest) }
    }
}

/// As its [`BindingConfig`]. What cannot be described is an error.
impl Serialize for Binding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.config().map_err(ser::Error::custom)?.serialize(serializer)
    }
}

/// Opens the cache that is described; an error where that is not possible.
impl<'de> Deserialize<'de> for Binding {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::open(BindingConfig::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}
