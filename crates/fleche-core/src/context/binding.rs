//! `Binding`: what was active at one moment, to be made active elsewhere.

use std::{collections::BTreeMap, rc::Rc, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::{Entry, Guard, Kinds, active_cache, enter, is_rerun, metadata};
use crate::{
    cache::{Cache, WeakCache},
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
    pub(super) tags: Arc<BTreeMap<String, String>>,
    pub(super) rerun: bool,
}

impl Binding {
    /// What is active on this thread now.
    pub fn current() -> Self {
        Self::with_cache(active_cache())
    }

    /// What is active on this thread now, with this cache.
    pub(crate) fn with_cache(cache: Cache) -> Self {
        let (kinds, tags) = metadata();
        Self { cache, kinds, tags: Arc::new(tags), rerun: is_rerun() }
    }

    /// The bound cache.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Whether calls run even where their record exists.
    pub(crate) fn is_rerun(&self) -> bool {
        self.rerun
    }

    /// The kinds of metadata to collect, and the tags.
    pub(crate) fn metadata(&self) -> (Kinds, BTreeMap<String, String>) {
        (self.kinds.clone(), BTreeMap::clone(&self.tags))
    }

    /// Makes this, and nothing of what was active before, active on this thread until the guard is dropped.
    pub fn enter(&self) -> Guard {
        enter(Entry::Bound(Rc::new(self.clone()), Rc::new(self.cache.clone())))
    }
}

/// A [`Binding`] remembered, without keeping its stores open.
#[derive(Clone, Debug)]
pub struct WeakBinding {
    cache: WeakCache,
    kinds: Kinds,
    tags: Arc<BTreeMap<String, String>>,
    rerun: bool,
}

impl Binding {
    /// What [`WeakBinding::is`] compares with.
    pub fn downgrade(&self) -> WeakBinding {
        let Self { cache, kinds, tags, rerun } = self;
        WeakBinding { cache: cache.downgrade(), kinds: kinds.clone(), tags: tags.clone(), rerun: *rerun }
    }
}

impl WeakBinding {
    /// Whether this is a binding to the same cache (a clone of its handle), kinds of metadata and tags.
    pub fn is(&self, binding: &Binding) -> bool {
        self.cache.is(&binding.cache)
            && Arc::ptr_eq(&self.kinds, &binding.kinds)
            && self.tags == binding.tags
            && self.rerun == binding.rerun
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
        Ok(BindingConfig { cache: self.cache.config(), metadata, tags: (*self.tags).clone(), rerun: self.rerun })
    }

    /// What the description says, with this cache in place of the one that it describes.
    pub fn of_config(config: BindingConfig, cache: Cache) -> Self {
        let BindingConfig { metadata, tags, rerun, .. } = config;
        Self { cache, kinds: metadata.into_iter().map(Arc::from).collect(), tags: Arc::new(tags), rerun }
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
        let config = BindingConfig::deserialize(deserializer)?;
        let cache = Cache::from_config(&config.cache).map_err(de::Error::custom)?;
        Ok(Self::of_config(config, cache))
    }
}
