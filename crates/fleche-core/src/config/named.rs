//! Caches by name, and the cache that is used where a program names none.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use serde::de::DeserializeOwned;

use super::{
    CacheConfig,
    fallback::fallback,
    file::{CONFIG_FILE, CONFIG_VARIABLE, ConfigFile, user_file},
    origin,
};
use crate::{
    cache::{Cache, HotTier},
    encoding,
    error::{Error, Result},
    mode::{Mode, mode},
};

impl Cache {
    /// Opens the cache that the [configuration](ConfigFile) in force makes the default: the one that `default` names, or the
    /// only one there is. The configuration is the file that `FLECHE_CONFIG` names, else each `fleche.toml` from the working
    /// directory upward and that of the user.
    ///
    /// Calls where nothing is entered use the same cache. Where the configuration cannot be used, an error is logged, a cache in
    /// memory stands in for it, and it is tried again after one second, then after up to a minute. A
    /// program that must not run without its cache begins with this function instead:
    ///
    /// ```no_run
    /// use fleche_core::Cache;
    ///
    /// fn main() -> fleche_core::Result<()> {
    ///     let cache = Cache::from_environment()?;
    ///     let _active = cache.enter();
    ///     // …
    ///     Ok(())
    /// }
    /// ```
    ///
    /// With `FLECHE=off`, and while a test [ignores the configuration](crate::testing::ignore_configuration), it is the cache
    /// that keeps nothing.
    ///
    /// # Errors
    /// [`Error::Config`] where no cache is configured, where several are and none is the default, and where a file cannot be
    /// read or understood; what the stores say when they are opened. The cache in memory that calls use where nothing is
    /// configured does not count as configured, unless a file says `default = "memory"`.
    pub fn from_environment() -> Result<Self> {
        if mode() == Mode::Off || is_ignored() {
            return Ok(Self::void());
        }
        let files = ConfigFile::from_environment()?;
        let name = files.chosen()?.ok_or_else(|| files.names_none())?;
        from_files(name, &files)
    }

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
            "default" => Ok(fallback().cache),
            _ if is_ignored() => from_files(name, &ConfigFile::default()),
            _ => from_files(name, &ConfigFile::from_environment()?),
        }
    }
}

pub(super) fn from_files(name: &str, files: &ConfigFile) -> Result<Cache> {
    match name {
        "memory" | "void" => return Cache::named(name),
        _ => {}
    }
    let config = files.caches.get(name).ok_or_else(|| {
        let known: Vec<_> = files.caches.keys().map(String::as_str).chain(["memory", "void"]).collect();
        unusable(format!("there is no cache `{name}`; there are {known:?}"))
    })?;
    Cache::from_config(config)
}

fn unusable(why: String) -> Error {
    Error::Config { place: "cache configuration".to_owned(), why }
}

impl ConfigFile {
    /// The name of the cache for programs that name none; `None` if the files name no cache.
    ///
    /// # Errors
    /// [`Error::Config`] where there are several caches and none is the default.
    pub(super) fn chosen(&self) -> Result<Option<&str>> {
        if let Some(name) = &self.default {
            return Ok(Some(name));
        }
        let Some(first) = self.caches.keys().next() else { return Ok(None) };
        if self.caches.len() == 1 {
            return Ok(Some(first));
        }
        let names = self.caches.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let files = shown(&self.files);
        Err(unusable(format!(
            "there are the caches {names}, and none of them is the default: write `default = \"{first}\"` at the top of \
             {files}, or open one by its name with `Cache::named`"
        )))
    }

    /// Returns the error that no file names a cache, with the places of the search.
    fn names_none(&self) -> Error {
        let cure = format!("write a {CONFIG_FILE} that names a cache, or set {CONFIG_VARIABLE} to the path of one");
        if !self.files.is_empty() {
            return unusable(format!("{} names no cache: {cure}", shown(&self.files)));
        }
        let here = origin::directory().map_or("the working directory".to_owned(), |path| path.display().to_string());
        let user = user_file().map(|path| format!(", and no {}", path.display())).unwrap_or_default();
        unusable(format!("no cache is configured: there is no {CONFIG_FILE} in {here} or above it{user}; {cure}"))
    }
}

fn shown(files: &[PathBuf]) -> String {
    files.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ")
}

/// How many guards have configuration ignored.
static IGNORED: AtomicUsize = AtomicUsize::new(0);

pub(super) fn is_ignored() -> bool {
    IGNORED.load(Relaxed) > 0
}

/// One more, or one less, has configuration ignored.
pub(crate) fn ignore(more: bool) {
    if more {
        IGNORED.fetch_add(1, Relaxed)
    } else {
        IGNORED.fetch_sub(1, Relaxed)
    };
}

/// The process-wide memory cache, if a backend of that name is linked.
pub(super) fn memory() -> Result<Cache> {
    static MEMORY: OnceLock<Cache> = OnceLock::new();
    if let Some(cache) = MEMORY.get() {
        return Ok(cache.clone());
    }
    let cache = new_memory()?;
    Ok(MEMORY.get_or_init(|| cache).clone())
}

/// A new cache in memory, if a backend of that name is linked.
pub(crate) fn new_memory() -> Result<Cache> {
    let (values, calls) = (plain("memory")?, plain("memory")?);
    Cache::from_config(&CacheConfig { values, calls, store_arguments: true, hot: HotTier::DEFAULT, stale: None })
}

/// The configuration of this backend without settings.
fn plain<C: DeserializeOwned>(backend: &str) -> Result<C> {
    Ok(encoding::from_slice(&encoding::to_vec(&BTreeMap::from([("type", backend)]))?)?)
}
