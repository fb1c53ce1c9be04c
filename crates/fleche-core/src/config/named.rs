//! Caches by name, and the cache of programs that name none.

use std::{collections::BTreeMap, path::PathBuf};

use serde::de::DeserializeOwned;

use super::{
    fallback::{configured, from_files, is_ignored, memory, unusable_configuration},
    file::{
        self, CONFIG_FILE, CONFIG_VARIABLE, ConfigFile, ConfiguredExecutor, executors_from_environment,
        search_directory, user_file,
    },
};
use crate::{
    cache::Cache,
    error::{Error, Result},
    runtime::mode::{Mode, mode},
};

impl Cache {
    /// Opens the default cache of the [configuration](ConfigFile) in force: the one that `default` names, or the only
    /// one there is. The configuration is the file that `FLECHE_CONFIG` names or, if it is not set, each `fleche.toml`
    /// from the working directory upward and that of the user.
    ///
    /// Calls without an entered cache use the same cache. If the configuration cannot be used, an error is logged, and
    /// a memory cache replaces it until another attempt succeeds: after one second, then after increasing pauses of up
    /// to a minute. A program that must not run without its cache begins with this function instead:
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
    /// With `FLECHE=off`, and while a test [ignores the configuration](crate::testing::ignore_configuration), the
    /// result is the cache that stores nothing.
    ///
    /// # Errors
    /// Fails with [`Error::Config`] if no cache is configured, if there are several and none is the default, or if a
    /// file cannot be read or parsed; also with the errors of opening the stores. The memory cache that calls use
    /// without a configuration does not count as configured, unless a file has `default = "memory"`.
    pub fn from_environment() -> Result<Self> {
        if mode() == Mode::Off || is_ignored() {
            return Ok(Self::void());
        }
        let files = ConfigFile::from_environment()?;
        let name = files.default_name()?.ok_or_else(|| files.no_cache_error())?;
        from_files(name, &files)
    }

    /// Opens the cache with this name: `memory` (one per process), `void`, `default` (the cache of programs that enter
    /// none and set none), or one that a [configuration file](ConfigFile) names. Files are searched for from the
    /// working directory.
    ///
    /// # Errors
    /// Fails with [`Error::Config`] for a name that no file defines, with the known names, and for `default` if the
    /// configuration cannot be used; also with the errors of opening the store.
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "void" => Ok(Self::void()),
            "memory" => memory(),
            "default" => configured(),
            _ => from_files(name, &ConfigFile::in_force()?),
        }
    }
}

/// Returns the executors for lookups by name: none while a test ignores the configuration.
///
/// # Errors
/// Fails as [`ConfigFile::from_environment`] does, but not for caches that cannot be used.
pub(crate) fn configured_executors() -> Result<BTreeMap<String, ConfiguredExecutor>> {
    if is_ignored() { Ok(BTreeMap::new()) } else { executors_from_environment() }
}

/// Returns the settings of this name under `[remote.NAME]`, or `None` if there are none, or while a test ignores the configuration.
///
/// # Errors
/// Fails as [`ConfigFile::from_environment`] does, but not for caches that cannot be used; also if the settings are not of the
/// requested type.
pub fn remote_from_environment<T: DeserializeOwned>(name: &str) -> Result<Option<T>> {
    if is_ignored() { Ok(None) } else { file::remote_from_environment(name) }
}

impl ConfigFile {
    /// Returns the configuration for lookups by name, which is empty while a test ignores the configuration.
    ///
    /// # Errors
    /// Fails as [`from_environment`](Self::from_environment) does.
    fn in_force() -> Result<Self> {
        if is_ignored() { Ok(Self::default()) } else { Self::from_environment() }
    }

    /// Returns the name of the cache for programs that name none, or `None` if the files define no cache.
    ///
    /// # Errors
    /// Fails with [`Error::Config`] if there are several caches and none is the default.
    pub(super) fn default_name(&self) -> Result<Option<&str>> {
        if let Some(name) = &self.default {
            return Ok(Some(name));
        }
        let Some(first) = self.caches.keys().next() else { return Ok(None) };
        if self.caches.len() == 1 {
            return Ok(Some(first));
        }
        let names = self.caches.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let files = list_paths(&self.files);
        Err(unusable_configuration(format!(
            "there are the caches {names}, and none of them is the default: write `default = \"{first}\"` at the top of \
             {files}, or open one by its name with `Cache::named`"
        )))
    }

    /// Returns the error that no file defines a cache, with the places that were searched.
    fn no_cache_error(&self) -> Error {
        let cure = format!("write a {CONFIG_FILE} that names a cache, or set {CONFIG_VARIABLE} to the path of one");
        if !self.files.is_empty() {
            return unusable_configuration(format!("{} names no cache: {cure}", list_paths(&self.files)));
        }
        let here = search_directory().map_or("the working directory".to_owned(), |path| path.display().to_string());
        let user = user_file().map(|path| format!(", and no {}", path.display())).unwrap_or_default();
        unusable_configuration(format!(
            "no cache is configured: there is no {CONFIG_FILE} in {here} or above it{user}; {cure}"
        ))
    }
}

fn list_paths(files: &[PathBuf]) -> String {
    files.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ")
}
