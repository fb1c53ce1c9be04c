//! Persistent memoization for Rust: stores the results of functions marked `#[fleche]` by the content of their arguments.
//!
//! It is for expensive, deterministic functions: simulations, fits, parses. The same call made later, from another thread,
//! process or machine that reaches the store, is a lookup. The user picks the store.
//!
//! ```
//! use fleche_core::{Cache, fleche};
//! use fleche_store_file::{FileCalls, FileValues};
//!
//! #[fleche]
//! fn energy(sites: &[[f64; 3]], cutoff: f64) -> f64 {
//!     sites.iter().flatten().filter(|x| **x < cutoff).sum() // Imagine that this takes minutes.
//! }
//!
//! fn main() -> fleche_core::Result<()> {
//! #   let directory = tempfile::tempdir().unwrap();
//! #   std::env::set_current_dir(&directory).unwrap();
//!     let cache = Cache::new(FileValues::open(".fleche/values")?, FileCalls::open(".fleche/calls")?);
//!     let _active = cache.enter();
//!     println!("{}", energy(&[[0.5, 1.0, 1.5]], 1.2)); // Computed in the first run, looked up in each later one.
//! #   energy(&[[0.5, 1.0, 1.5]], 1.2);
//! #   assert_eq!((cache.stats().computed, cache.stats().hits), (1, 1));
//!     Ok(())
//! }
//! ```
//!
//! # Start here
//!
//! - The [tutorial](_tutorial) leads from an ordinary function to a memoized, persisted, parallel sweep.
//! - The [cookbook](_cookbook) has a recipe for each common task.
//! - The [FAQ](_faq) has causes and cures, by symptom.
//!
//! # Installation
//!
//! A program depends on this crate and on a store; on `fleche-exec` to run calls in parallel; and on `fleche-store-memory`
//! for caches in tests. Clone the repository of fleche beside your project, and depend on its crates by path:
//!
//! ```toml
//! [dependencies]
//! fleche-core = { path = "../fleche/crates/fleche-core" }
//! fleche-store-file = { path = "../fleche/crates/fleche-store-file" }
//! fleche-exec = { path = "../fleche/crates/fleche-exec" }
//! serde = { version = "1", features = ["derive"] } # For types of your own in arguments and results.
//!
//! [dev-dependencies]
//! fleche-store-memory = { path = "../fleche/crates/fleche-store-memory" }
//! ```
//!
//! The crates are not on crates.io yet; versions replace the paths once they are published. Rust 1.95 or later and a C compiler
//! are needed.
//!
//! # Which store
//!
//! | crate | keeps results | shared by | choose it for |
//! |---|---|---|---|
//! | `fleche-store-file` | in a directory, one file per entry | any number of processes and hosts | nearly everything |
//! | `fleche-store-redb` | in one redb file | one process at a time | very many small results of one long-running process |
//! | `fleche-store-sql` | in SQLite or PostgreSQL | any number of processes; with PostgreSQL, of hosts | very many small results of several processes; queries |
//! | `fleche-store-sled` | in a sled directory | one process at a time | existing sled deployments |
//! | `fleche-store-memory` | in memory | one process | tests |
//!
//! The front page of each crate says what it guarantees, and `docs/stores.md` in the repository compares them. Stores can be
//! combined: see [`layer`]. Your own store is a type with two traits: see [`store`].
//!
//! # Where to look
//!
//! | for | see |
//! |---|---|
//! | the attribute, its options and its companion | [`fleche`] |
//! | opening a cache, counting, querying, evicting | [`Cache`], [`Cache::builder`] |
//! | which cache a call uses | [`Cache::enter`], [`set_default_cache`], [`config::ConfigFile`], [`active_cache`] |
//! | running calls in parallel | [`wrap_executor`], [`executor_named`], [`ExecutorExt`], [`Bound`], [`Job`], [`job::as_completed`], [`job::join_all`] |
//! | functions and calls as text, for other processes | [`Bound`], [`BoundCall`], [`Bound::restore`] |
//! | thread pools of other libraries | [`Cache::install`] |
//! | `async fn`, and futures that carry their cache | [`fleche`](macro@fleche#jobs-and-async-fn), [`FutureExt::in_cache`] |
//! | files as arguments | [`FileContent`] |
//! | large arguments that many calls share | [`Hashed`] |
//! | sets and ordered maps inside arguments | [`unordered`], [`ordered`] |
//! | the encoding of a value | [`encoding`] |
//! | metadata stored with a result | [`metadata`], [`tag`] |
//! | layers of stores, and the in-memory tier in front of them | [`layer`], [`CacheBuilder::hot_tier`](cache::CacheBuilder::hot_tier) |
//! | garbage collection, verification and transfer | [`Cache::gc`], [`Cache::verify`], [`Cache::transfer`] |
//! | tests of programs that use memoized functions | [`testing`] |
//! | writing a backend | [`ValueStore`], [`CallStore`], [`register_backend!`] |
//!
#![doc = include_str!("../docs/environment.md")]
#![doc = include_str!("../docs/events.md")]

#[cfg(doc)]
pub mod _cookbook;
/// Frequently asked questions: causes and cures, by symptom.
///
#[cfg(doc)]
#[doc = include_str!("../docs/faq.md")]
pub mod _faq {}
/// A tutorial: from an ordinary function to a memoized, persisted, parallel sweep.
///
#[cfg(doc)]
#[doc = include_str!("../docs/tutorial.md")]
pub mod _tutorial {}

mod argument;
pub mod bound;
pub mod cache;
pub mod call;
pub mod claim;
pub mod config;
pub mod context;
mod engine;
pub mod error;
pub mod executor;
mod function;
mod isolate;
pub mod job;
pub mod layer;
pub mod metadata;
mod runtime;
pub mod spi;
pub mod store;
pub mod testing;

/// Digests: the names of values and calls in stores, and their prefixes. A re-export of `fleche_encoding`.
pub mod digest {
    #[doc(inline)]
    pub use fleche_encoding::{Digest, DigestPrefix, ParseDigestError};
}

/// The canonical encoding of values: deterministic CBOR, the bytes that are hashed and stored. A re-export of
/// [`fleche_encoding`], whose front page has its guarantees and limits.
pub mod encoding {
    #[doc(inline)]
    pub use fleche_encoding::{
        DecodeError, DecodeErrorKind, Deserializer, EncodeError, Encoded, MAX_DEPTH, WRAP_TAG, append, diagnostic,
        from_slice, ordered, stability, to_vec, to_writer, unordered,
    };
}

pub use crate::context::FutureExt;
pub use crate::store::query::Query;
pub use argument::{FileContent, Hashed};
pub use bound::{Bound, BoundCall};
pub use cache::{Cache, SkipReason, Stats};
pub use call::{CallKey, FunctionId, Record, ValueRef};
pub use config::CacheConfig;
pub use context::{active_cache, collect, set_default_cache, tag};
#[doc(no_inline)]
pub use digest::{Digest, DigestPrefix};
#[doc(no_inline)]
pub use encoding::{ordered, unordered};
pub use error::{Error, Result};
pub use executor::{Executor, ExecutorExt, Resources, Task, executor_named, wrap_executor};
/// Memoizes a function: stores its results by the content of its arguments.
///
/// The function is called as before. Each call is looked up in the [active](active_cache) cache. If it is there (a hit),
/// the recorded result is returned and the body does not run; otherwise (a miss) the body runs and its result is
/// recorded. A failure of the cache never fails the call.
///
/// ```
/// # use fleche_core::{Cache, fleche};
/// # use fleche_store_memory::{MemoryCalls, MemoryValues};
/// #[fleche]
/// fn compute(x: i64, label: &str) -> i64 {
///     x + label.len() as i64
/// }
/// # let _active = Cache::new(MemoryValues::new(), MemoryCalls::new()).enter();
/// assert_eq!(compute(3, "a"), 4);
/// ```
///
#[doc = include_str!("../docs/attribute/companion.md")]
#[doc = include_str!("../docs/attribute/options.md")]
#[doc = include_str!("../docs/attribute/edited-code.md")]
#[doc = include_str!("../docs/attribute/parameters.md")]
#[doc = include_str!("../docs/attribute/jobs-and-async.md")]
#[doc = include_str!("../docs/attribute/single-flight.md")]
#[doc = include_str!("../docs/attribute/isolate.md")]
#[doc = include_str!("../docs/attribute/guarantees.md")]
#[doc(inline)]
pub use fleche_macros::fleche;
pub use job::{Job, JobError};
pub use store::{CallStore, ValueStore};

#[doc(hidden)]
pub mod __private;

/// The examples of the repository's README and of this crate's, compiled as doctests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
#[doc = include_str!("../README.md")]
struct Readme;
