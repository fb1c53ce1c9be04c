//! Panics of stores and of users' trait implementations as errors.

use serde::de;

use crate::{
    encoding::{DecodeError, EncodeError},
    error::Error,
    job,
    runtime::panics::{CaughtPanic, Panic, carry},
};

/// Runs a store operation. A panic in it is returned as an error, because it must not fail the call.
#[inline]
pub(super) fn catch_store_panic<T, E: From<Error>>(ask: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    match carry(ask) {
        Ok(answer) => answer,
        Err(panic) => Err(store_panicked(panic).into()),
    }
}

#[cold]
#[inline(never)]
fn store_panicked(panic: CaughtPanic) -> Error {
    Error::backend("a store")(job::panicked(panic))
}

/// Returns the error for a `Serialize` that panicked.
#[cold]
pub(super) fn serialize_panicked(panic: &Panic) -> EncodeError {
    EncodeError::Custom(format!("its `Serialize` {panic}").into())
}

/// Returns the error for a `Deserialize` that panicked.
pub(super) fn deserialize_panicked(panic: &Panic) -> DecodeError {
    de::Error::custom(format!("its `Deserialize` {panic}"))
}
