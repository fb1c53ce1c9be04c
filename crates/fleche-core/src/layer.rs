//! Layers: stores that are composed of other stores, or of none.
//!
//! | layer | `type` | description |
//! |---|---|---|
//! | [`Stack`] | `stack` | reads its stores in order, writes to the first, and copies entries of later stores to earlier ones |
//! | [`Union`] | `union` | reads its stores in order, and is read-only |
//! | [`ReadOnly`] | `read-only` | one store, read-only |
//! | `Compressed` (feature `zstd`) | `compressed` | one value store, whose entries it compresses |
//! | [`Void`] | `void` | stores nothing |
//!
//! Layers may contain any stores, including other layers. Only a stack directly within a stack is refused, because a
//! single stack does the same. The configuration of a layer contains those of its stores:
//!
//! ```
//! # use fleche_core::CacheConfig;
//! # use fleche_store_file as _;
//! # use fleche_store_memory as _;
//! # let text = r#"
//! [values]
//! type = "stack"
//! stores = [
//!     { type = "file", root = "cache/values" },
//!     { type = "read-only", store = { type = "file", root = "/shared/cache/values" } },
//! ]
//!
//! [calls]
//! type = "stack"
//! stores = [
//!     { type = "file", root = "cache/calls" },
//!     { type = "read-only", store = { type = "file", root = "/shared/cache/calls" } },
//! ]
//! # "#;
//! # let config: CacheConfig = toml::from_str(text)?;
//! # assert_eq!(config.values.reach(), fleche_core::store::Reach::Shared);
//! # Ok::<(), toml::de::Error>(())
//! ```
//!
//! In code, a layer is built from open stores: [`Stack::new`], [`Union::new`], [`ReadOnly::new`]. Stores of different
//! types are boxed as `Box<dyn ValueStore>` or `Arc<dyn ValueStore>`, and call stores as `Box<dyn CallStore>` or
//! `Arc<dyn CallStore>`.
//!
//! A layer has the smallest [reach](crate::store::Reach) of its stores. A union and a read-only store refuse writes with
//! [`Error::Refused`]. Function calls still return their results, and are counted as
//! [`SkipReason::StoreRefused`](crate::SkipReason::StoreRefused).

#[cfg(feature = "zstd")]
mod compressed;
mod read_only;
mod stack;
mod union;
mod void;

#[cfg(feature = "zstd")]
pub use compressed::{Compressed, CompressedConfig};
pub use read_only::{ReadOnly, ReadOnlyConfig};
pub use stack::{OfCalls, OfValues, Stack, StackConfig, Stackable};
pub use union::{Union, UnionConfig};
pub use void::Void;

use crate::{
    error::{Error, Result},
    store::Reach,
};

/// Collects the stores of a layer.
///
/// # Errors
/// Fails with [`Error::Config`] if there are no stores.
fn require_some<S>(layer: &str, stores: impl IntoIterator<Item = S>) -> Result<Vec<S>> {
    let stores: Vec<_> = stores.into_iter().collect();
    if stores.is_empty() {
        return Err(invalid(layer, "it has no stores: list at least one, or use `void`, which stores nothing"));
    }
    Ok(stores)
}

/// Opens the stores of a layer in order.
fn open_all<C, S>(configs: &[C], open: impl Fn(&C) -> Result<S>) -> Result<Vec<S>> {
    configs.iter().map(open).collect()
}

/// Returns the reach of a layer over stores with these reaches.
fn smallest_reach(reaches: impl Iterator<Item = Reach>) -> Reach {
    reaches.min().unwrap_or(Reach::Shared)
}

fn invalid(layer: &str, why: &str) -> Error {
    Error::Config { place: format!("a layer of type `{layer}`"), why: why.to_owned() }
}
