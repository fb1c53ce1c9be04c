//! Asking a store on a call's behalf: whatever happens there is an error at worst.

use crate::{
    error::{Error, Result},
    job,
};

/// What the store says. A panic in it is an error: the caller asked for a result, not for a store.
pub(super) fn attempt<T>(ask: impl FnOnce() -> Result<T>) -> Result<T> {
    job::catch(ask).unwrap_or_else(|panic| Err(Error::backend("a store")(panic)))
}
