//! Converts panics to errors of jobs.

use super::JobError;
use crate::runtime::panics::{CaughtPanic, carry};

/// Runs the closure; a panic in it becomes [`JobError::Panicked`]. The installed panic hook prints as usual.
///
/// # Errors
/// Fails with [`JobError::Panicked`] if the closure panics.
pub fn catch<R>(run: impl FnOnce() -> R) -> Result<R, JobError> {
    carry(run).map_err(panicked)
}

/// The panic as an error.
#[cold]
#[inline(never)]
pub(crate) fn panicked(panic: CaughtPanic) -> JobError {
    let (message, location) = panic.into_text();
    JobError::Panicked { message, location }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn location_of_a_panic_survives_a_catch_during_unwinding() {
        struct Catches;
        impl Drop for Catches {
            fn drop(&mut self) {
                assert_eq!(catch(|| 1), Ok(1));
            }
        }
        let panicked: Result<(), _> = catch(|| {
            let _catches = Catches;
            panic!("tried")
        });
        let Err(JobError::Panicked { message, location: Some(at) }) = panicked else { panic!("{panicked:?}") };
        assert!(message == "tried" && at.contains("panic.rs"), "{message} {at}");
    }
}
