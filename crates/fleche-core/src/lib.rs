//! Persistent memoization that follows the work wherever it runs.

pub mod bound;
pub mod cache;
pub mod call;
pub mod config;
pub mod context;
pub mod digest;
pub mod encoding;
pub mod error;
pub mod executor;
pub mod file_content;
#[doc(hidden)]
pub mod function;
pub mod job;
pub mod layer;
#[doc(hidden)]
pub mod memo;
pub mod metadata;
pub mod query;
pub mod store;

pub use bound::{Bound, BoundCall};
pub use cache::{Cache, Skip, Stats};
pub use call::{CallKey, FunctionId, Record, ValueRef};
pub use config::CacheConfig;
pub use context::{active_cache, collect, set_default_cache, tag};
pub use digest::{Digest, DigestPrefix};
pub use encoding::{ordered, unordered};
pub use error::{Error, Result};
pub use executor::{Executor, ExecutorExt, Task, wrap_executor};
pub use file_content::FileContent;
pub use fleche_macros::fleche;
pub use job::{Job, JobError};
pub use query::Query;
pub use store::{CallStore, ValueStore};

#[doc(hidden)]
pub mod __private;
