//! Caches by name, and the cache that is used where a program names none.

use std::{
    collections::BTreeMap,
    sync::{LazyLock, OnceLock},
};

use serde::de::DeserializeOwned;

use super::{CacheConfig, ConfigFile};
use crate::{
    cache::{Cache, HotTier},
    encoding,
    error::{Error, Result},
};

impl Cache {
    /// The cache of this name: `memory` (one for the process), `void`, `default` (what the configuration files give to
    /// programs that enter none and set none), or one that a [configuration file](ConfigFile) names. Files are looked up
    /// from the working directory.
    ///
    /// # Errors
    /// [`Error::Config`] for a name that no file gives, listing those that are; what the stores say otherwise.
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "void" => Ok(Self::void()),
            "memory" => memory(),
            "default" => Ok(fallback()),
            _ => from_files(name, &ConfigFile::from_environment()?),
        }
    }
}

fn from_files(name: &str, files: &ConfigFile) -> Result<Cache> {
    let config = files.caches.get(name).ok_or_else(|| {
        let known: Vec<_> = files.caches.keys().map(String::as_str).chain(["memory", "void"]).collect();
        Error::Config {
            place: "cache configuration".to_owned(),
            why: format!("there is no cache `{name}`; there are {known:?}"),
        }
    })?;
    Cache::from_config(config)
}

/// The cache for calls where nothing is entered and no default was set: what the configuration files say, else memory
/// if that store is linked, else void. Found once; never fails, but warns.
pub(crate) fn fallback() -> Cache {
    static FALLBACK: LazyLock<Cache> = LazyLock::new(|| {
        let configured = ConfigFile::from_environment().and_then(|files| match (&files.default, files.caches.len()) {
            (Some(name), _) => match name.as_str() {
                "memory" | "void" => Cache::named(name).map(Some),
                name => from_files(name, &files).map(Some),
            },
            (None, 1) => files.caches.keys().next().map(|name| from_files(name, &files)).transpose(),
            (None, _) => Ok(None),
        });
        configured
            .unwrap_or_else(|error| {
                crate::log::warn!(%error, "the cache configuration is not usable; results are not kept on disk");
                None
            })
            .or_else(|| memory().ok())
            .unwrap_or_else(|| {
                crate::log::warn!(
                    "no cache is entered, set as default or configured, and no memory store is linked: nothing is kept"
                );
                Cache::void()
            })
    });
    FALLBACK.clone()
}

/// The process-wide memory cache, if a backend of that name is linked.
fn memory() -> Result<Cache> {
    static MEMORY: OnceLock<Cache> = OnceLock::new();
    if let Some(cache) = MEMORY.get() {
        return Ok(cache.clone());
    }
    let (values, calls) = (plain("memory")?, plain("memory")?);
    let config = CacheConfig { values, calls, store_arguments: true, hot: HotTier::DEFAULT, stale: None };
    let cache = Cache::from_config(&config)?;
    Ok(MEMORY.get_or_init(|| cache).clone())
}

/// The configuration of this backend without settings.
fn plain<C: DeserializeOwned>(backend: &str) -> Result<C> {
    Ok(encoding::from_slice(&encoding::to_vec(&BTreeMap::from([("type", backend)]))?)?)
}
