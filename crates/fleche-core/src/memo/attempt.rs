//! Asking a store on a call's behalf: whatever happens there is an error at worst.

use crate::{
    error::Error,
    job,
    panics::{Carried, carry},
};

/// What the store says. A panic in it is an error: the caller asked for a result, not for a store.
#[inline]
pub(super) fn attempt<T, E: From<Error>>(ask: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    match carry(ask) {
        Ok(answer) => answer,
        Err(panic) => Err(panicked(panic).into()),
    }
}

#[cold]
#[inline(never)]
fn panicked(panic: Carried) -> Error {
    Error::backend("a store")(job::panicked(panic))
}
