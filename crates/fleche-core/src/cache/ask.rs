//! Store operations on a call's behalf: a store that fails repeatedly is left alone for a while.
//!
//! A cache has one breaker for each [`Operation`], so that a store on a full disk still serves hits, and a failing claim table
//! does not keep records from being written. A breaker opens after three failures in a row, or after one timeout. While it
//! is open, calls do without the operation. After a pause one caller tries the operation again: if it succeeds, the breaker
//! closes; if it fails, the next pause is twice as long.

use std::{
    fmt, io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::{
    Cache,
    circuit_breaker::{Admission, Breaker, Failure, LONGEST_PAUSE},
};
use crate::{
    call::CallKey,
    claim::{Claim, Owner},
    error::{Error, Result},
};

/// An operation that calls perform on the stores of a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    ReadValue,
    WriteValue,
    ReadRecord,
    WriteRecord,
    /// Claiming calls and querying claim holders.
    Claim,
}

/// Why a store gave no answer.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// The store failed.
    Failed(Error),
    /// The store was not asked, because it has failed repeatedly.
    LeftAlone,
}

/// The number of operations.
const OPERATIONS: usize = 5;

/// The breakers of a cache.
pub(super) struct Breakers {
    /// Whether any breaker is open or has counted a failure. A store that works costs one relaxed load.
    troubled: AtomicBool,
    by_operation: Mutex<[Breaker; OPERATIONS]>,
    clock: Clock,
}

/// A clock that returns the time since a fixed moment.
#[derive(Clone)]
enum Clock {
    Since(Instant),
    Set(Arc<dyn Fn() -> Duration + Send + Sync>),
}

impl Operation {
    /// Returns the read operation, if there is one, that must work for this operation to be tried: if reading fails, nothing is
    /// written or claimed.
    fn reading(self) -> Option<Self> {
        match self {
            Self::ReadValue | Self::ReadRecord => None,
            Self::WriteValue => Some(Self::ReadValue),
            Self::WriteRecord | Self::Claim => Some(Self::ReadRecord),
        }
    }

    /// Returns whether the operation's outcome also shows whether its read operation works. A claim shows nothing about records.
    fn shows_reading(self) -> bool {
        self != Self::Claim
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

impl Breakers {
    pub(super) fn new() -> Self {
        Self::of(Clock::Since(Instant::now()))
    }

    /// Creates breakers that use this clock, which returns the time since a fixed moment.
    pub(super) fn with_clock(clock: Arc<dyn Fn() -> Duration + Send + Sync>) -> Self {
        Self::of(Clock::Set(clock))
    }

    /// Creates closed breakers with the same clock.
    pub(super) fn anew(&self) -> Self {
        Self::of(self.clock.clone())
    }

    fn of(clock: Clock) -> Self {
        Self { troubled: AtomicBool::new(false), by_operation: Mutex::default(), clock }
    }

    /// Returns the breakers, and the time.
    fn lock(&self) -> (MutexGuard<'_, [Breaker; OPERATIONS]>, Duration) {
        let now = match &self.clock {
            Clock::Since(begun) => begun.elapsed(),
            Clock::Set(clock) => clock(),
        };
        // Nothing panics under the lock.
        (self.by_operation.lock().unwrap_or_else(PoisonError::into_inner), now)
    }

    /// Returns how the breakers admit the operation, or `None` if one of them denies it.
    #[cold]
    fn admit(&self, operation: Operation) -> Option<Admissions> {
        let (mut breakers, now) = self.lock();
        if denies(&breakers, operation, now) {
            return None;
        }
        let mut admit = |operation: Operation| breakers[operation as usize].admit(now);
        let reading = operation.reading().filter(|_| operation.shows_reading());
        Some(Admissions { own: admit(operation), reading: reading.map_or(Admission::Granted, admit) })
    }

    /// Returns whether the operation would be denied.
    fn deny(&self, operation: Operation) -> bool {
        self.troubled.load(Relaxed) && {
            let (breakers, now) = self.lock();
            denies(&breakers, operation, now)
        }
    }

    /// Counts a failure of the operation. Returns the first pause if this opens the operation's own breaker.
    #[cold]
    fn fail(&self, operation: Operation, admissions: Admissions, failure: Failure) -> Option<Duration> {
        let (mut breakers, now) = self.lock();
        self.troubled.store(true, Relaxed);
        // A failure to write does not count as a failure to read, unless it was the probe for reading.
        if let (Some(reading), Admission::Probe) = (operation.reading(), admissions.reading) {
            breakers[reading as usize].fail(failure, Admission::Probe, now);
        }
        breakers[operation as usize].fail(failure, admissions.own, now)
    }

    /// Admits another probe in place of each of these, whose outcome shows nothing.
    #[cold]
    fn return_probes(&self, operation: Operation, admissions: Admissions) {
        let (mut breakers, now) = self.lock();
        let reading = operation.reading().map(|reading| (reading, admissions.reading));
        for (operation, admission) in [Some((operation, admissions.own)), reading].into_iter().flatten() {
            if admission == Admission::Probe {
                breakers[operation as usize].return_probe(now);
            }
        }
    }

    /// Records that the operation succeeded. Returns whether this closed an open breaker.
    #[cold]
    fn succeed(&self, operation: Operation) -> bool {
        let (mut breakers, _) = self.lock();
        let mut closed = breakers[operation as usize].succeed();
        if let Some(reading) = operation.reading().filter(|_| operation.shows_reading()) {
            closed |= breakers[reading as usize].succeed();
        }
        self.troubled.store(*breakers != [Breaker::default(); OPERATIONS], Relaxed);
        closed
    }
}

/// Returns whether a breaker denies the operation. When the pause for reading is over, claims are still denied until a lookup
/// has succeeded.
fn denies(breakers: &[Breaker; OPERATIONS], operation: Operation, now: Duration) -> bool {
    let reading = operation.reading().map(|reading| breakers[reading as usize]);
    let reading_denies = |reading: Breaker| {
        if operation.shows_reading() { reading.denies(now) } else { reading.is_open() }
    };
    breakers[operation as usize].denies(now) || reading.is_some_and(reading_denies)
}

/// How an operation was admitted by its own breaker and by that of its read operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Admissions {
    own: Admission,
    reading: Admission,
}

impl Cache {
    /// Performs a store operation on a call's behalf, unless the store is left alone.
    ///
    /// # Errors
    /// Fails with [`Unanswered`] if the store fails or is left alone.
    #[inline]
    pub(crate) fn ask<T>(&self, operation: Operation, ask: impl FnOnce() -> Result<T>) -> Result<T, Unanswered> {
        let asking = Asking::begin(self, operation)?;
        let answer = ask();
        asking.end(answer.as_ref().err());
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
        let asking = Asking::begin(self, operation)?;
        let answer = ask();
        match answer.as_ref().err().filter(|error| is_failure(error)) {
            Some(error) => asking.end(Some(error)),
            None => asking.end_unknown(),
        }
        Ok(answer?)
    }

    /// Returns whether the store is left alone for this operation now. Does not count as an attempt.
    pub(crate) fn leaves_alone(&self, operation: Operation) -> bool {
        self.inner.breakers.deny(operation)
    }

    /// Requests the store's claim of a call, on the call's behalf. Returns `None` if the store is left alone. For executors that
    /// ask for their workers.
    #[doc(hidden)]
    pub fn claim_for_call(&self, key: &CallKey) -> Result<Option<Claim>> {
        unless_left_alone(self.ask(Operation::Claim, || self.calls().claim(key)))
    }

    /// Returns the holder of a call's claim, if it is known, as [`claim_for_call`](Self::claim_for_call) requests claims.
    #[doc(hidden)]
    pub fn owner_for_call(&self, key: &CallKey) -> Result<Option<Owner>> {
        unless_left_alone(self.ask(Operation::Claim, || self.calls().owner(key))).map(Option::flatten)
    }

    /// Returns whether the stores have the record under this key and its result, or `None` if a store is left alone.
    #[doc(hidden)]
    pub fn contains_for_call(&self, key: &CallKey) -> Result<Option<bool>> {
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
    fn note_failure(&self, asking: (Operation, Admissions), error: Option<&Error>) {
        let (operation, admissions) = asking;
        let failure = if error.is_some_and(is_timeout) { Failure::Timeout } else { Failure::Quick };
        if let Some(pause) = self.inner.breakers.fail(operation, admissions, failure) {
            self.inner.counters.outage();
            let error = error.map_or_else(|| "a store panicked".to_owned(), Error::to_string);
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
struct Asking<'a> {
    cache: &'a Cache,
    operation: Operation,
    /// `None` if all breakers were closed and without failures when it began.
    admissions: Option<Admissions>,
}

impl<'a> Asking<'a> {
    #[inline]
    fn begin(cache: &'a Cache, operation: Operation) -> Result<Self, Unanswered> {
        let breakers = &cache.inner.breakers;
        let admissions = if breakers.troubled.load(Relaxed) {
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

const GRANTED: Admissions = Admissions { own: Admission::Granted, reading: Admission::Granted };

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.cache.note_failure((self.operation, self.admissions.unwrap_or(GRANTED)), None);
    }
}

/// Returns whether the store itself failed. Damaged entries and refusals are answers, not failures.
fn is_failure(error: &Error) -> bool {
    matches!(error, Error::Io { .. } | Error::Backend { .. })
}

/// Returns whether the operation timed out, so that the caller had to wait for the error.
pub fn is_timeout(error: &Error) -> bool {
    let source = match error {
        Error::Io { source, .. } => Some(source),
        Error::Backend { source, .. } => source.downcast_ref::<io::Error>(),
        _ => None,
    };
    source.is_some_and(|source| source.kind() == io::ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn failed_reads_stop_writes_but_failed_writes_do_not_stop_reads() {
        let breakers = Breakers::new();
        breakers.fail(Operation::WriteRecord, GRANTED, Failure::Timeout);
        assert!(breakers.deny(Operation::WriteRecord) && !breakers.deny(Operation::Claim));
        assert!(!breakers.deny(Operation::ReadRecord) && !breakers.deny(Operation::WriteValue));
        breakers.fail(Operation::ReadValue, GRANTED, Failure::Timeout);
        assert!(breakers.deny(Operation::WriteValue));
        assert!(breakers.succeed(Operation::ReadValue));
        assert!(!breakers.deny(Operation::WriteValue));
        assert!(breakers.troubled.load(Relaxed));
        assert!(breakers.succeed(Operation::WriteRecord));
        assert!(!breakers.troubled.load(Relaxed));
    }

    #[test]
    fn claims_and_records_are_left_alone_independently() {
        for (one, other) in [(Operation::Claim, Operation::WriteRecord), (Operation::WriteRecord, Operation::Claim)] {
            let breakers = Breakers::new();
            assert!(breakers.fail(one, GRANTED, Failure::Timeout).is_some());
            assert!(breakers.deny(one) && !breakers.deny(other));
            assert!(!breakers.succeed(other) && breakers.deny(one));
        }
    }

    #[test]
    fn claim_does_not_count_as_a_read_and_waits_for_a_successful_one() {
        let seconds = Arc::new(AtomicU64::new(0));
        let clock = seconds.clone();
        let breakers = Breakers::with_clock(Arc::new(move || Duration::from_secs(clock.load(Relaxed))));
        for _ in 0..3 {
            breakers.fail(Operation::ReadRecord, GRANTED, Failure::Quick);
            breakers.succeed(Operation::Claim);
        }
        assert!(breakers.deny(Operation::ReadRecord) && breakers.deny(Operation::Claim));
        seconds.store(1, Relaxed);
        assert!(!breakers.deny(Operation::ReadRecord) && breakers.admit(Operation::Claim).is_none());
        let probe = Admissions { own: Admission::Probe, reading: Admission::Granted };
        assert_eq!(breakers.admit(Operation::ReadRecord), Some(probe));
        assert!(breakers.succeed(Operation::ReadRecord));
        assert_eq!(breakers.admit(Operation::Claim), Some(GRANTED));
    }

    #[test]
    fn failed_write_that_probes_reading_counts_for_both() {
        let seconds = Arc::new(AtomicU64::new(0));
        let clock = seconds.clone();
        let breakers = Breakers::with_clock(Arc::new(move || Duration::from_secs(clock.load(Relaxed))));
        breakers.fail(Operation::ReadRecord, GRANTED, Failure::Timeout);
        seconds.store(1, Relaxed);
        let probe = Admissions { own: Admission::Granted, reading: Admission::Probe };
        assert_eq!(breakers.admit(Operation::WriteRecord), Some(probe));
        assert!(breakers.fail(Operation::WriteRecord, probe, Failure::Timeout).is_some());
        seconds.store(2, Relaxed);
        assert!(breakers.deny(Operation::ReadRecord), "the pause of the read breaker is not two seconds");
        seconds.store(3, Relaxed);
        assert!(!breakers.deny(Operation::ReadRecord));
    }

    #[test]
    fn returned_probe_leaves_the_breakers_open_and_another_operation_probes() {
        let seconds = Arc::new(AtomicU64::new(0));
        let clock = seconds.clone();
        let breakers = Breakers::with_clock(Arc::new(move || Duration::from_secs(clock.load(Relaxed))));
        for operation in [Operation::ReadRecord, Operation::WriteRecord] {
            breakers.fail(operation, GRANTED, Failure::Timeout);
        }
        seconds.store(1, Relaxed);
        let probe = Admissions { own: Admission::Probe, reading: Admission::Probe };
        for _ in 0..2 {
            assert_eq!(breakers.admit(Operation::WriteRecord), Some(probe));
            assert!(breakers.deny(Operation::ReadRecord) && breakers.deny(Operation::WriteRecord));
            breakers.return_probes(Operation::WriteRecord, probe);
        }
        assert!(breakers.admit(Operation::Claim).is_none(), "the reading breaker is still open");
    }

    #[test]
    fn damaged_entries_and_refusals_are_not_failures() {
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
