//! `CacheConfig`: a cache described as text, and the caches that `fleche.toml` names.

mod file;
mod home;
mod named;
mod origin;
mod store_type;
mod trust;

pub use file::{CONFIG_FILE, CONFIG_VARIABLE, ConfigFile};
pub(crate) use named::{fallback, ignore, new_memory};
pub(crate) use origin::Elsewhere;
#[doc(hidden)]
pub use origin::directory;
pub use trust::MAX_CONFIG_LEN;

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use crate::{
    cache::{Cache, HotTier, StalePolicy},
    error::{Result, ensure_not_forked},
    store::{CallStoreConfig, ValueStoreConfig},
};

/// How to open a [`Cache`] elsewhere: serialises in JSON, TOML or CBOR alike.
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
    /// The store of values.
    #[serde(deserialize_with = "named_backend")]
    pub values: Box<dyn ValueStoreConfig>,
    /// The store of records.
    #[serde(deserialize_with = "named_backend")]
    pub calls: Box<dyn CallStoreConfig>,
    /// Whether arguments longer than [`INLINE_LIMIT`](crate::call::INLINE_LIMIT) are stored beside results. Default:
    /// true.
    #[serde(default = "yes")]
    pub store_arguments: bool,
    /// What is kept of results in front of the stores, as a size. Default: 64 MiB.
    #[serde(default, skip_serializing_if = "is_default")]
    pub hot: HotTier,
    /// What becomes of results that other code computed, where the function does not say: `"rerun"`, `"warn"` or
    /// `"serve"`. Default: rerun, or warn for functions that state a version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale: Option<StalePolicy>,
}

// By hand: the derived comparison would move the boxes (a known limit of deriving over trait objects).
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

/// Says, where a backend's name is not known, which are and why one may be missing.
fn named_backend<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    T::deserialize(deserializer).map_err(|error| D::Error::custom(store_type::explain(&error.to_string())))
}

impl Cache {
    /// Opens both stores.
    ///
    /// # Errors
    /// What the stores say when they are opened; [`Error::Forked`](crate::Error::Forked) in a [forked child](crate::fork).
    pub fn from_config(config: &CacheConfig) -> Result<Self> {
        if *config == Self::void().config() {
            return Ok(Self::void());
        }
        ensure_not_forked(|| "the cache")?;
        let cache = Self::of(config.values.open()?, config.calls.open()?, config.store_arguments);
        Ok(cache.hot_tier(config.hot).stale(config.stale))
    }

    /// How to open this cache elsewhere.
    pub fn config(&self) -> CacheConfig {
        CacheConfig {
            values: self.values().config(),
            calls: self.calls().config(),
            store_arguments: self.stores_arguments(),
            hot: self.hot().tier(),
            stale: self.stale_policy(),
        }
    }
}
