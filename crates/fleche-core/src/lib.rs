//! Persistent memoization that follows the work wherever it runs.

pub mod call;
pub mod digest;
pub mod encoding;
pub mod error;
pub mod metadata;
pub mod query;
pub mod store;

pub use call::{CallKey, FunctionId, Record, ValueRef};
pub use digest::{Digest, DigestPrefix};
pub use error::{Error, Result};
pub use query::Query;
pub use store::{CallStore, ValueStore};

#[doc(hidden)]
pub mod __private {
    //! What the macros' expansions name. Not for people.

    pub use inventory;
}
