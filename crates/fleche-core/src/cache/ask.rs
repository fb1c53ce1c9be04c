//! Store operations on a call's behalf: a store that fails repeatedly is left alone for a while.
//!
//! A cache has one breaker for each [`Operation`], so that a store on a full disk still serves hits, and a failing claim table
//! does not keep records from being written. A breaker opens after three failures in a row, or after one timeout. While it
//! is open, calls do without the operation. After a pause one caller tries the operation again: if it succeeds, the breaker
//! closes; if it fails, the next pause is twice as long.

use std::sync::atomic::Ordering::Relaxed;

use super::{
    Cache,
    circuit_breaker::{Admissions, Failure, GRANTED, LONGEST_PAUSE, Operation, Unanswered, is_failure, is_timeout},
};
use crate::{
    call::CallKey,
    claim::{Claim, ClaimHolder},
    error::{Error, Result},
};

impl Cache {
    /// Performs a store operation on a call's behalf, unless the store is left alone.
    ///
    /// # Errors
    /// Fails with [`Unanswered`] if the store fails or is left alone.
    #[inline]
    pub(crate) fn ask<T>(&self, operation: Operation, ask: impl FnOnce() -> Result<T>) -> Result<T, Unanswered> {
        let ongoing = OngoingOperation::begin(self, operation)?;
        let answer = ask();
        ongoing.end(answer.as_ref().err());
        Ok(answer?)
    }

    /// Like [`ask`](Self::ask), for a question before the operation, whose answer does not show that the operation works: only a
    /// failure counts.
    ///
    /// # Errors
    /// Fails with [`Unanswered`] if the store fails or is left alone.
    pub(crate) fn ask_in_advance<T>(
        &self,
        operation: Operation,
        ask: impl FnOnce() -> Result<T>,
    ) -> Result<T, Unanswered> {
        let ongoing = OngoingOperation::begin(self, operation)?;
        let answer = ask();
        match answer.as_ref().err().filter(|error| is_failure(error)) {
            Some(error) => ongoing.end(Some(error)),
            None => ongoing.end_unknown(),
        }
        Ok(answer?)
    }

    /// Returns whether the store is left alone for this operation now. Does not count as an attempt.
    pub(crate) fn leaves_alone(&self, operation: Operation) -> bool {
        self.inner.breakers.is_denied(operation)
    }

    /// Requests the store's claim of a call, on the call's behalf. Returns `None` if the store is left alone. For executors that
    /// ask for their workers.
    pub(crate) fn claim_for_call(&self, key: &CallKey) -> Result<Option<Claim>> {
        unless_left_alone(self.ask(Operation::Claim, || self.calls().claim(key)))
    }

    /// Returns the holder of a call's claim, on the call's behalf. Returns `None` if the holder is not known or the
    /// store is left alone.
    pub(crate) fn holder_for_call(&self, key: &CallKey) -> Result<Option<ClaimHolder>> {
        unless_left_alone(self.ask(Operation::Claim, || self.calls().claim_holder(key))).map(Option::flatten)
    }

    /// Returns whether the stores have the record under this key and its result, or `None` if a store is left alone.
    pub(crate) fn contains_for_call(&self, key: &CallKey) -> Result<Option<bool>> {
        let record = match unless_left_alone(self.ask(Operation::ReadRecord, || self.calls().summary(key)))? {
            None => return Ok(None),
            Some(None) => return Ok(Some(false)),
            Some(Some(record)) => record,
        };
        unless_left_alone(self.ask(Operation::ReadValue, || self.holds(&record)))
    }

    #[cold]
    fn note_success(&self, operation: Operation) {
        if self.inner.breakers.succeed(operation) {
            tracing::info!("{operation} works again");
        }
    }

    #[cold]
    fn note_failure(&self, admitted: (Operation, Admissions), error: Option<&Error>) {
        let (operation, admissions) = admitted;
        let failure = if error.is_some_and(is_timeout) { Failure::Timeout } else { Failure::Immediate };
        if let Some(pause) = self.inner.breakers.fail(operation, admissions, failure) {
            self.inner.counters.outage();
            let error = error.map_or_else(|| "a store panicked".to_owned(), |error| error.report().to_string());
            crate::runtime::log::warn!(
                %error,
                "{operation} failed repeatedly or took too long: calls run without it, and it is tried again after {pause:?}, \
                 then after up to {LONGEST_PAUSE:?}"
            );
        }
    }
}

/// Returns the answer, or `None` if the store was left alone.
fn unless_left_alone<T>(answer: Result<T, Unanswered>) -> Result<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(Unanswered::LeftAlone) => Ok(None),
        Err(Unanswered::Failed(error)) => Err(error),
    }
}

/// An operation that is being performed. If this is dropped without [`end`](Self::end), the operation has panicked.
struct OngoingOperation<'a> {
    cache: &'a Cache,
    operation: Operation,
    /// The admissions by the breakers. `None` if all breakers were closed and without failures when the operation began.
    admissions: Option<Admissions>,
}

impl<'a> OngoingOperation<'a> {
    #[inline]
    fn begin(cache: &'a Cache, operation: Operation) -> Result<Self, Unanswered> {
        let breakers = &cache.inner.breakers;
        let admissions = if breakers.has_failures.load(Relaxed) {
            Some(breakers.admit(operation).ok_or(Unanswered::LeftAlone)?)
        } else {
            None
        };
        Ok(Self { cache, operation, admissions })
    }

    #[inline]
    fn end(self, error: Option<&Error>) {
        let (cache, operation, admissions) = (self.cache, self.operation, self.admissions);
        std::mem::forget(self);
        if let Some(error) = error.filter(|error| is_failure(error)) {
            cache.note_failure((operation, admissions.unwrap_or(GRANTED)), Some(error));
        } else if admissions.is_some() {
            cache.note_success(operation);
        }
    }

    /// Ends an operation whose outcome does not show whether the store works.
    fn end_unknown(self) {
        if let Some(admissions) = self.admissions {
            self.cache.inner.breakers.return_probes(self.operation, admissions);
        }
        std::mem::forget(self);
    }
}

impl Drop for OngoingOperation<'_> {
    fn drop(&mut self) {
        self.cache.note_failure((self.operation, self.admissions.unwrap_or(GRANTED)), None);
    }
}
