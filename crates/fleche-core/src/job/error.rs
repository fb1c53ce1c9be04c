//! The errors of jobs, and panics as errors.

use std::{error::Error, fmt};

use serde::{Deserialize, Serialize};

use super::worker_loss::WorkerLoss;
use crate::{
    error,
    runtime::panics::{CaughtPanic, carry},
};

/// The reason why a job has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum JobError {
    /// The body panicked.
    #[error("the call panicked{}: {message}", place(location.as_deref()))]
    Panicked {
        /// The panic's message; empty if it was not text.
        message: String,
        /// `file:line:column` of the panic, if known.
        location: Option<String>,
    },
    /// The worker that ran the call was lost: its process died, its node failed, or its scheduler ended it.
    #[error("{0}")]
    WorkerLost(Box<WorkerLoss>),
    /// The job was cancelled before its body started.
    #[error("the call was cancelled before it started")]
    Cancelled,
    /// The call exceeded its time limit.
    #[error("the call timed out")]
    TimedOut,
    /// No executor would run the call, or its result could not be returned.
    #[error("the call was refused: {why}")]
    Rejected {
        /// The reason, and what to do.
        why: String,
    },
}

fn place(location: Option<&str>) -> String {
    location.map_or_else(String::new, |location| format!(" at {location}"))
}

impl JobError {
    /// Creates a [`JobError::Rejected`] with this reason.
    pub fn rejected(why: impl Into<String>) -> Self {
        Self::Rejected { why: why.into() }
    }

    /// Creates the [`JobError::WorkerLost`] of a worker whose process ended with this signal or exit code.
    pub fn worker_died(signal: Option<i32>, code: Option<i32>) -> Self {
        WorkerLoss::died(signal, code).into()
    }
}

impl From<WorkerLoss> for JobError {
    fn from(loss: WorkerLoss) -> Self {
        Self::WorkerLost(Box::new(loss))
    }
}

/// The text of an error whose value could not be sent to this process or thread, and the texts of its sources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteError {
    message: String,
    source: Option<Box<RemoteError>>,
}

impl RemoteError {
    /// Copies the texts of this error and its sources.
    pub fn new(error: &(dyn Error + 'static)) -> Self {
        Self { message: error.to_string(), source: error.source().map(|source| Box::new(Self::new(source))) }
    }
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.message)
    }
}

impl Error for RemoteError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Runs the closure; a panic in it becomes [`JobError::Panicked`]. The installed panic hook prints as usual.
///
/// # Errors
/// Fails with [`JobError::Panicked`] if the closure panics.
pub fn catch_panic<R>(run: impl FnOnce() -> R) -> Result<R, JobError> {
    carry(run).map_err(panicked)
}

/// Converts the panic to an error.
#[cold]
#[inline(never)]
pub(crate) fn panicked(panic: CaughtPanic) -> JobError {
    let (message, location) = panic.into_text();
    JobError::Panicked { message, location }
}

/// Runs a store operation. A panic in it is returned as an error, because it must not fail the call.
#[inline]
pub(crate) fn catch_store_panic<T, E: From<error::Error>>(ask: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    match carry(ask) {
        Ok(answer) => answer,
        Err(panic) => Err(store_panicked(panic).into()),
    }
}

#[cold]
#[inline(never)]
fn store_panicked(panic: CaughtPanic) -> error::Error {
    error::Error::backend("a store")(panicked(panic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn location_of_a_panic_survives_a_catch_during_unwinding() {
        struct Catches;
        impl Drop for Catches {
            fn drop(&mut self) {
                assert_eq!(catch_panic(|| 1), Ok(1));
            }
        }
        let panicked: Result<(), _> = catch_panic(|| {
            let _catches = Catches;
            panic!("tried")
        });
        let Err(JobError::Panicked { message, location: Some(at) }) = panicked else { panic!("{panicked:?}") };
        assert!(message == "tried" && at.contains("error.rs"), "{message} {at}");
    }
}
