//! Store operations on a call's behalf: a panic in a store becomes an error.

use crate::{
    error::Error,
    job,
    runtime::panics::{CaughtPanic, carry},
};

/// Runs a store operation. A panic in it is returned as an error, because it must not fail the call.
#[inline]
pub(super) fn catch_store_panic<T, E: From<Error>>(ask: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    match carry(ask) {
        Ok(answer) => answer,
        Err(panic) => Err(panicked(panic).into()),
    }
}

#[cold]
#[inline(never)]
fn panicked(panic: CaughtPanic) -> Error {
    Error::backend("a store")(job::panicked(panic))
}
