//! Persistent memoization for Rust: stores the results of functions marked `#[fleche]` by the content of their arguments.
//!
//! It is for expensive, deterministic functions. The user picks the store. The same call made later, from another thread,
//! process or machine that reaches the store, is a lookup.
//!
//! ```
//! use fleche_core::{Cache, fleche};
//! use fleche_store_memory::{MemoryCalls, MemoryValues};
//!
//! #[fleche]
//! fn energy(sites: &[[f64; 3]], cutoff: f64) -> f64 {
//!     sites.iter().flatten().filter(|x| **x < cutoff).sum() // Minutes of it.
//! }
//!
//! let cache = Cache::new(MemoryValues::new(), MemoryCalls::new());
//! let _active = cache.enter();
//! let first = energy(&[[0.5, 1.0, 1.5]], 1.2);
//! assert_eq!(energy(&[[0.5, 1.0, 1.5]], 1.2), first); // Its body does not run.
//! assert_eq!(cache.stats().hits, 1);
//! ```
//!
//! # Where to look
//!
//! | for | see |
//! |---|---|
//! | the attribute, its options and its companion | [`fleche`] |
//! | opening stores, counting, querying, evicting | [`Cache`] |
//! | which cache a call uses | [`Cache::enter`], [`set_default_cache`], [`config::ConfigFile`], [`active_cache`] |
//! | going parallel | [`wrap_executor`], [`ExecutorExt`], [`Bound`], [`Job`], [`job::as_completed`], [`job::join_all`] |
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
//! # Environment variables
//!
//! | variable | meaning |
//! |---|---|
//! | `FLECHE=off` | every call runs its body; nothing is looked up and nothing is recorded |
//! | `FLECHE=readonly` | hits are served; nothing is recorded, claimed or evicted |
//! | `FLECHE=refresh` | every call computes once per run and replaces its record; after that it is a hit. A record counts if it was written on this host since the run began; a run includes its worker processes |
//! | `FLECHE_CONFIG=/path/to/fleche.toml` | the one [configuration file](config::ConfigFile) to read |
//! | `FLECHE_LOG=off`, `error` | which messages are printed to standard error if no `tracing` subscriber is installed; if unset, both warnings and errors |
//!
//! `FLECHE` applies to calls of memoized functions in the whole process and in its workers, whichever cache the program
//! enters. It does not apply to operations that the program calls on a [`Cache`] itself, except that `readonly` refuses
//! writes there too.
//!
//! # Events about calls
//!
//! Each lookup emits an event of [`tracing`](https://docs.rs/tracing), with the target `fleche_core::calls`. If no
//! subscriber listens to its level, an event costs one load from memory.
//!
//! | message | level | fields besides `function` and `key` |
//! |---|---|---|
//! | `hit` | `DEBUG` | `from`: `thread-local tier`, `shared tier`, `store`, or `another call` if this one waited for it |
//! | `miss` | `DEBUG` | `reason`: `not recorded`, `recorded by other code`, `recorded without fields of the result`, `recorded with another type of result`, `rerun` |
//! | `skip`: the call is not recorded | `DEBUG` | `reason`: the [`SkipReason`] as text; no `key` if there is none |
//! | `waiting for the same call in this process` | `DEBUG` | `process`; `age`: how long it has run |
//! | `waiting for the same call in another process` | `INFO` | `host`, `process`, `age` of the process that computes it |
//! | `the wait has lasted too long`: the call computes too | `DEBUG` | |
//!
//! `function` is the full name, `key` the call's key in the store, as `f::key(…)` returns it. With `tracing-subscriber`
//! and its `EnvFilter`, `RUST_LOG=fleche_core::calls=debug` shows these events. Calls under [`Cache::void`] emit none.
//! Warnings and errors have the target of the module that emits them; without a subscriber they are printed to standard
//! error.
//!
//! A program depends on this crate and on one store crate, plus `fleche-exec` to go parallel.

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
pub use executor::{Executor, ExecutorExt, Resources, Task, wrap_executor};
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

/// The examples of the README, compiled and run as doctests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// The examples of the troubleshooting guide, compiled and run as doctests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/troubleshooting.md")]
struct Troubleshooting;
