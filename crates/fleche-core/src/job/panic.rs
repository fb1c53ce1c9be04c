//! Panics as errors of jobs.

use super::JobError;
use crate::panics::carry;

/// Runs the closure; a panic in it becomes [`JobError::Panicked`]. The panic hook that was set prints as before.
///
/// # Errors
/// The panic.
pub fn catch<R>(run: impl FnOnce() -> R) -> Result<R, JobError> {
    carry(run).map_err(|panic| {
        let (message, location) = panic.into_text();
        JobError::Panicked { message, location }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_panic_outlives_what_is_caught_while_it_unwinds() {
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
