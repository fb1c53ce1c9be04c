//! Layers: stores that are made of other stores, or of none.
//!
//! | layer | `type` | what it does |
//! |---|---|---|
//! | [`Stack`] | `stack` | looks in each of its stores in turn, writes to the first, and copies there what it finds further down |
//! | [`Pool`] | `pool` | looks in each of its stores in turn, and writes nothing |
//! | [`ReadOnly`] | `read-only` | one store, without writing to it |
//! | `Compressed` (feature `zstd`) | `compressed` | one store of values, whose entries it compresses |
//! | [`Void`] | `void` | keeps nothing |
//!
//! They go around any store and around each other; only a stack directly in a stack is refused, since it says nothing that
//! one stack does not. Their configurations hold those of their stores:
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
//! In code, a layer is made of opened stores: [`Stack::new`], [`Pool::new`], [`ReadOnly::new`]. Stores of different types go
//! into one layer as `Box<dyn ValueStore>` or `Arc<dyn ValueStore>`, and records' stores alike; both are stores.
//!
//! A layer reaches as far as that of its stores which reaches least. What a pool or a read-only store is asked to write, it
//! refuses with [`Error::Refused`](crate::Error::Refused); the calls of functions return their results all the same, and
//! are counted as [`Skip::StoreRefused`](crate::Skip::StoreRefused).

#[cfg(feature = "zstd")]
mod compressed;
mod config;
mod pool;
mod read_only;
mod stack;
mod union;
mod void;

#[cfg(feature = "zstd")]
pub use compressed::{Compressed, CompressedConfig};
pub use config::{PoolConfig, ReadOnlyConfig, StackConfig};
pub use pool::Pool;
pub use read_only::ReadOnly;
pub use stack::{OfCalls, OfValues, Stack, Stackable};
pub use void::Void;
