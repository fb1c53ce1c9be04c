//! `CacheConfig`: the textual description of a cache, and the caches that `fleche.toml` names.

mod fallback;
pub(crate) mod file;
pub(crate) mod named;
mod trust;
mod unknown_backend;

pub(crate) use fallback::{Fallback, fallback, ignore, new_memory};
pub use file::{CONFIG_FILE, CONFIG_VARIABLE, ConfigFile};
pub(crate) use file::{ConfiguredExecutor, SearchRootOverride, expand_home};
pub(crate) use named::configured_executors;
pub use trust::MAX_CONFIG_LEN;
pub(crate) use unknown_backend::{did_you_mean, list};

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use crate::{
    cache::{Cache, HotTier, StalePolicy},
    error::Result,
    runtime::fork::ensure_not_forked,
    store::{CallStoreConfig, ValueStoreConfig},
};

/// The configuration of a [`Cache`], from which another process can open it. Serializes to JSON, TOML and CBOR.
///
/// ```
/// use fleche_core::CacheConfig;
///
/// let config: CacheConfig = serde_json::from_str(r#"{"values": {"type": "void"}, "calls": {"type": "void"}}"#)?;
/// let unknown = r#"{"values": {"type": "rdb"}, "calls": {"type": "void"}}"#;
/// let error = serde_json::from_str::<CacheConfig>(unknown).unwrap_err();
/// assert!(error.to_string().contains("`rdb`"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheConfig {
    /// The value store.
    #[serde(deserialize_with = "named_backend")]
    pub values: Box<dyn ValueStoreConfig>,
    /// The call store.
    #[serde(deserialize_with = "named_backend")]
    pub calls: Box<dyn CallStoreConfig>,
    /// Whether arguments longer than [`INLINE_LIMIT`](crate::call::INLINE_LIMIT) are stored in addition to results.
    /// Default: true.
    #[serde(default = "yes")]
    pub store_arguments: bool,
    /// The size of the in-memory tier of results in front of the stores. Default: 64 MiB.
    #[serde(default, skip_serializing_if = "is_default")]
    pub hot: HotTier,
    /// The policy for results that other code computed, for functions that state none: `"rerun"`, `"warn"` or `"serve"`.
    /// Default: `"rerun"`, or `"warn"` for functions that state a version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale: Option<StalePolicy>,
}

// Written out because the derived comparison would move the boxes, a known limit of deriving over trait objects.
impl PartialEq for CacheConfig {
    fn eq(&self, other: &Self) -> bool {
        *self.values == *other.values
            && *self.calls == *other.calls
            && (self.store_arguments, self.hot, self.stale) == (other.store_arguments, other.hot, other.stale)
    }
}

fn yes() -> bool {
    true
}

fn is_default(tier: &HotTier) -> bool {
    *tier == HotTier::DEFAULT
}

/// Deserializes a configuration. The error for an unknown backend lists the known names and says why a backend may be
/// missing.
fn named_backend<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    T::deserialize(deserializer).map_err(|error| D::Error::custom(unknown_backend::explain(&error.to_string())))
}

impl CacheConfig {
    /// Opens both stores. The same as [`Cache::from_config`].
    ///
    /// # Errors
    /// Fails as [`Cache::from_config`] does.
    pub fn open(&self) -> Result<Cache> {
        Cache::from_config(self)
    }
}

impl Cache {
    /// Opens both stores of a configuration.
    ///
    /// # Errors
    /// Fails with the errors of opening the stores, and with [`Error::Forked`](crate::Error::Forked) in a [forked
    /// child](crate::spi::fork).
    pub fn from_config(config: &CacheConfig) -> Result<Self> {
        if *config == Self::void().config() {
            return Ok(Self::void());
        }
        ensure_not_forked(|| "the cache")?;
        let builder = Self::builder().values(config.values.open()?).calls(config.calls.open()?);
        Ok(builder.store_arguments(config.store_arguments).hot_tier(config.hot).stale(config.stale).build())
    }

    /// Returns the description from which this cache can be opened in another process.
    pub fn config(&self) -> CacheConfig {
        CacheConfig {
            values: self.values().config(),
            calls: self.calls().config(),
            store_arguments: self.stores_arguments(),
            hot: self.hot_tier(),
            stale: self.stale_policy(),
        }
    }
}
