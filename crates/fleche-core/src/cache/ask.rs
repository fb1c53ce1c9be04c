//! Asking stores on a call's behalf: a store that fails repeatedly is left alone for a while.
//!
//! A cache has one breaker for each [`Operation`], so that a full disk, say, still serves hits. A breaker opens after
//! three failures in a row, or after one timeout. While it is open, calls do without the operation. After a pause one
//! caller tries the operation again: if it succeeds, the breaker closes; if it fails, the next pause is twice as long.

use std::{
    fmt, io,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::{
    Cache,
    breaker::{Admission, Breaker, Failure, LONGEST_PAUSE},
};
use crate::error::{Error, Result};

/// An operation that calls ask of the stores of a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    ReadValue,
    WriteValue,
    ReadRecord,
    WriteRecord,
    /// Claims and their owners. It has no breaker of its own, since its success does not show that entries can be read.
    Claim,
}

/// Why there is no answer from a store.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// It failed.
    Failed(Error),
    /// It was not asked, since it has failed repeatedly.
    LeftAlone,
}

/// The breakers of a cache.
pub(super) struct Breakers {
    /// Whether any breaker is open or has counted a failure. A store that works costs one relaxed load.
    troubled: AtomicBool,
    by_operation: Mutex<[Breaker; 4]>,
    begun: Instant,
}

impl Operation {
    /// The breakers that must be closed: nothing is written where reading fails. The last is its own.
    fn breakers(self) -> &'static [usize] {
        match self {
            Self::ReadValue => &[0],
            Self::WriteValue => &[0, 1],
            Self::ReadRecord => &[2],
            Self::WriteRecord | Self::Claim => &[2, 3],
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadValue => "reading values",
            Self::WriteValue => "storing values",
            Self::ReadRecord => "reading records",
            Self::WriteRecord => "storing records",
            Self::Claim => "claiming calls",
        })
    }
}

impl From<Error> for Unanswered {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Unanswered {
    /// Turns the error into the result of a look-up: a store that was left alone counts as having no entry.
    pub(crate) fn into_missing<T>(self) -> Result<Option<T>> {
        match self {
            Self::Failed(error) => Err(error),
            Self::LeftAlone => Ok(None),
        }
    }
}

impl Breakers {
    pub(super) fn new() -> Self {
        Self { troubled: AtomicBool::new(false), by_operation: Mutex::default(), begun: Instant::now() }
    }

    fn lock(&self) -> MutexGuard<'_, [Breaker; 4]> {
        // Nothing panics under the lock.
        self.by_operation.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Returns how each breaker of the operation admits it; `None` where one denies it.
    #[cold]
    fn admit(&self, operation: Operation) -> Option<Admissions> {
        let (mut breakers, now) = (self.lock(), self.now());
        let needed = operation.breakers();
        if needed.iter().any(|breaker| breakers[*breaker].denies(now)) {
            return None;
        }
        let mut admissions = [Admission::Granted; 2];
        for (admission, breaker) in admissions.iter_mut().zip(needed) {
            *admission = breakers[*breaker].admit(now);
        }
        Some(admissions)
    }

    /// Returns whether the operation would be denied.
    fn deny(&self, operation: Operation) -> bool {
        if !self.troubled.load(Relaxed) {
            return false;
        }
        let (breakers, now) = (self.lock(), self.now());
        operation.breakers().iter().any(|breaker| breakers[*breaker].denies(now))
    }

    /// Returns the first pause if this failure opens the operation's own breaker.
    #[cold]
    fn fail(&self, operation: Operation, admissions: Admissions, failure: Failure) -> Option<Duration> {
        let (mut breakers, now) = (self.lock(), self.now());
        self.troubled.store(true, Relaxed);
        let needed = operation.breakers();
        let mut opened = None;
        for (nth, (breaker, admission)) in needed.iter().zip(admissions).enumerate() {
            // A failure to write does not count as a failure to read, unless it was the probe for reading.
            let is_own = nth + 1 == needed.len();
            if is_own || admission == Admission::Probe {
                opened = breakers[*breaker].fail(failure, admission, now);
            }
        }
        opened
    }

    /// Returns whether a breaker was open that is closed now.
    #[cold]
    fn succeed(&self, operation: Operation, admissions: Admissions) -> bool {
        let (mut breakers, now) = (self.lock(), self.now());
        let mut closed = false;
        for (breaker, admission) in operation.breakers().iter().zip(admissions) {
            if operation != Operation::Claim {
                closed |= breakers[*breaker].succeed();
            } else if admission == Admission::Probe {
                breakers[*breaker].return_probe(now);
            }
        }
        self.troubled.store(*breakers != [Breaker::default(); 4], Relaxed);
        closed
    }
}

/// How each breaker of an operation has admitted it.
type Admissions = [Admission; 2];

impl Cache {
    /// Asks a store on a call's behalf, unless it is left alone.
    ///
    /// # Errors
    /// [`Unanswered`] where the store fails, or is not asked.
    #[inline]
    pub(crate) fn ask<T>(&self, operation: Operation, ask: impl FnOnce() -> Result<T>) -> Result<T, Unanswered> {
        let breakers = &self.inner.breakers;
        let admissions = if breakers.troubled.load(Relaxed) {
            Some(breakers.admit(operation).ok_or(Unanswered::LeftAlone)?)
        } else {
            None
        };
        let asking = Asking { cache: self, operation, admissions };
        let answer = ask();
        asking.end(answer.as_ref().err());
        Ok(answer?)
    }

    /// Returns whether the operation would not be tried now. Does not count as an attempt.
    pub(crate) fn leaves_alone(&self, operation: Operation) -> bool {
        self.inner.breakers.deny(operation)
    }

    #[cold]
    fn note_failure(&self, asking: (Operation, Admissions), error: Option<&Error>) {
        let (operation, admissions) = asking;
        let failure = if error.is_some_and(is_timeout) { Failure::Timeout } else { Failure::Quick };
        if let Some(pause) = self.inner.breakers.fail(operation, admissions, failure) {
            self.inner.counters.outage();
            let error = error.map_or_else(|| "a store panicked".to_owned(), Error::to_string);
            crate::log::warn!(
                %error,
                "{operation} failed repeatedly or took too long: calls run without it, and it is tried again after {pause:?}, \
                 then after up to {LONGEST_PAUSE:?}"
            );
        }
    }
}

/// An operation on its way. Dropped without an end, it has panicked.
struct Asking<'a> {
    cache: &'a Cache,
    operation: Operation,
    /// `None` where no breaker was in trouble when it began.
    admissions: Option<Admissions>,
}

impl Asking<'_> {
    #[inline]
    fn end(self, error: Option<&Error>) {
        let (cache, operation, admissions) = (self.cache, self.operation, self.admissions);
        std::mem::forget(self);
        if let Some(error) = error.filter(|error| is_failure(error)) {
            cache.note_failure((operation, admissions.unwrap_or(GRANTED)), Some(error));
        } else if let Some(admissions) = admissions
            && cache.inner.breakers.succeed(operation, admissions)
        {
            tracing::info!("{operation} works again");
        }
    }
}

const GRANTED: Admissions = [Admission::Granted; 2];

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.cache.note_failure((self.operation, self.admissions.unwrap_or(GRANTED)), None);
    }
}

/// Returns whether the store itself failed. Damaged entries and refusals are answers, not failures.
fn is_failure(error: &Error) -> bool {
    matches!(error, Error::Io { .. } | Error::Backend { .. })
}

/// Returns whether the operation failed by a timeout, so the caller had to wait for the error.
fn is_timeout(error: &Error) -> bool {
    let source = match error {
        Error::Io { source, .. } => Some(source),
        Error::Backend { source, .. } => source.downcast_ref::<io::Error>(),
        _ => None,
    };
    source.is_some_and(|source| source.kind() == io::ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_written_where_reading_fails_and_reading_goes_on_where_writing_fails() {
        let breakers = Breakers::new();
        breakers.fail(Operation::WriteRecord, GRANTED, Failure::Timeout);
        assert!(breakers.deny(Operation::WriteRecord) && breakers.deny(Operation::Claim));
        assert!(!breakers.deny(Operation::ReadRecord) && !breakers.deny(Operation::WriteValue));
        breakers.fail(Operation::ReadValue, GRANTED, Failure::Timeout);
        assert!(breakers.deny(Operation::WriteValue));
        assert!(breakers.succeed(Operation::ReadValue, GRANTED));
        assert!(!breakers.deny(Operation::WriteValue));
        assert!(breakers.troubled.load(Relaxed));
        assert!(breakers.succeed(Operation::WriteRecord, GRANTED));
        assert!(!breakers.troubled.load(Relaxed));
    }

    #[test]
    fn a_claim_that_succeeds_leaves_the_decision_to_the_record() {
        let breakers = Breakers::new();
        breakers.fail(Operation::WriteRecord, GRANTED, Failure::Timeout);
        assert!(!breakers.succeed(Operation::Claim, [Admission::Granted, Admission::Probe]));
        assert_eq!(breakers.admit(Operation::WriteRecord), Some([Admission::Granted, Admission::Probe]));
    }

    #[test]
    fn errors_that_are_answers_are_no_failures() {
        let timeout = || io::Error::from(io::ErrorKind::TimedOut);
        let damaged = Error::Damaged { entry: "e".to_owned(), why: "w".to_owned() };
        let refused = Error::Refused { store: "s".to_owned(), operation: "write" };
        assert!(!is_failure(&damaged) && !is_failure(&refused));
        for timeout in [Error::io("read", "f")(timeout()), Error::backend("s")(timeout())] {
            assert!(is_failure(&timeout) && is_timeout(&timeout));
        }
        assert!(!is_timeout(&Error::backend("s")("broken")));
    }
}
