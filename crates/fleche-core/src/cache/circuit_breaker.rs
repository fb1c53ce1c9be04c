//! Circuit breakers: they admit or deny the operations of a failing store.

use std::{
    fmt, io, iter,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use crate::{error::Error, runtime::lock::LockResultExt};

/// The number of failures in a row that opens a breaker.
const FAILURES: u32 = 3;
/// The first pause of an open breaker, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
pub(super) const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// The circuit breaker of one operation. It has no clock: the caller passes the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Breaker {
    /// The number of failures in a row while the breaker is closed.
    failures: u32,
    /// While the breaker is open: the present pause, and when it ends.
    open: Option<(Duration, Duration)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// The breaker is closed.
    Granted,
    /// The breaker is open and its pause is over: the outcome of this operation decides.
    Probe,
    Denied,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The error came at once.
    Immediate,
    /// The caller had to wait for the error.
    Timeout,
}

impl Breaker {
    pub(super) fn admit(&mut self, now: Duration) -> Admission {
        match &mut self.open {
            None => Admission::Granted,
            Some((_, until)) if now < *until => Admission::Denied,
            Some((_, until)) => {
                // No other probe is admitted for this long. The outcome of this one usually sets a new time before.
                *until = now + LONGEST_PAUSE;
                Admission::Probe
            }
        }
    }

    pub(super) fn denies(&self, now: Duration) -> bool {
        self.open.is_some_and(|(_, until)| now < until)
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Counts a failure. Returns the first pause if this opens the breaker.
    pub(super) fn fail(&mut self, failure: Failure, admission: Admission, now: Duration) -> Option<Duration> {
        match &mut self.open {
            None => {
                self.failures += 1;
                if failure == Failure::Immediate && self.failures < FAILURES {
                    return None;
                }
                self.open = Some((FIRST_PAUSE, now + FIRST_PAUSE));
                Some(FIRST_PAUSE)
            }
            Some((pause, until)) => {
                // Operations that began before the breaker opened show nothing new.
                if admission == Admission::Probe {
                    *pause = (*pause * 2).min(LONGEST_PAUSE);
                    *until = now + *pause;
                }
                None
            }
        }
    }

    /// Admits another probe from now on.
    pub(super) fn return_probe(&mut self, now: Duration) {
        if let Some((_, until)) = &mut self.open {
            *until = now;
        }
    }

    /// Closes the breaker. Returns whether it was open.
    pub(super) fn succeed(&mut self) -> bool {
        std::mem::take(self).open.is_some()
    }
}

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

/// The reason why a store gave no answer.
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
    pub(super) has_failures: AtomicBool,
    by_operation: Mutex<[Breaker; OPERATIONS]>,
    clock: Clock,
}

/// A clock that returns the time since a fixed moment.
#[derive(Clone)]
pub(super) enum Clock {
    Since(Instant),
    Set(Arc<dyn Fn() -> Duration + Send + Sync>),
}

impl Default for Clock {
    fn default() -> Self {
        Self::Since(Instant::now())
    }
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
    pub(super) fn new(clock: Clock) -> Self {
        Self { has_failures: AtomicBool::new(false), by_operation: Mutex::default(), clock }
    }

    pub(super) fn clock(&self) -> Clock {
        self.clock.clone()
    }

    /// Returns the breakers, and the time.
    fn lock(&self) -> (MutexGuard<'_, [Breaker; OPERATIONS]>, Duration) {
        let now = match &self.clock {
            Clock::Since(begun) => begun.elapsed(),
            Clock::Set(clock) => clock(),
        };
        // Nothing panics under the lock.
        (self.by_operation.lock().ignore_poison(), now)
    }

    /// Returns how the breakers admit the operation, or `None` if one of them denies it.
    #[cold]
    pub(super) fn admit(&self, operation: Operation) -> Option<Admissions> {
        let (mut breakers, now) = self.lock();
        if denies(&breakers, operation, now) {
            return None;
        }
        let mut admit = |operation: Operation| breakers[operation as usize].admit(now);
        let reading = operation.reading().filter(|_| operation.shows_reading());
        Some(Admissions { own: admit(operation), reading: reading.map_or(Admission::Granted, admit) })
    }

    /// Returns whether the operation would be denied.
    pub(super) fn is_denied(&self, operation: Operation) -> bool {
        self.has_failures.load(Relaxed) && {
            let (breakers, now) = self.lock();
            denies(&breakers, operation, now)
        }
    }

    /// Counts a failure of the operation. Returns the first pause if this opens the operation's own breaker.
    #[cold]
    pub(super) fn fail(&self, operation: Operation, admissions: Admissions, failure: Failure) -> Option<Duration> {
        let (mut breakers, now) = self.lock();
        self.has_failures.store(true, Relaxed);
        // A failure to write does not count as a failure to read, unless it was the probe for reading.
        if let (Some(reading), Admission::Probe) = (operation.reading(), admissions.reading) {
            breakers[reading as usize].fail(failure, Admission::Probe, now);
        }
        breakers[operation as usize].fail(failure, admissions.own, now)
    }

    /// Admits another probe in place of each probe among these admissions, because the outcome of the operation shows
    /// nothing.
    #[cold]
    pub(super) fn return_probes(&self, operation: Operation, admissions: Admissions) {
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
    pub(super) fn succeed(&self, operation: Operation) -> bool {
        let (mut breakers, _) = self.lock();
        let mut closed = breakers[operation as usize].succeed();
        if let Some(reading) = operation.reading().filter(|_| operation.shows_reading()) {
            closed |= breakers[reading as usize].succeed();
        }
        self.has_failures.store(*breakers != [Breaker::default(); OPERATIONS], Relaxed);
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

/// The admissions of an operation by its own breaker and by that of its read operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Admissions {
    own: Admission,
    reading: Admission,
}

/// Admitted by breakers that are closed.
pub(super) const GRANTED: Admissions = Admissions { own: Admission::Granted, reading: Admission::Granted };

/// Returns whether the store itself failed. Damaged entries and refusals are answers, not failures.
pub(super) fn is_failure(error: &Error) -> bool {
    matches!(error, Error::Io { .. } | Error::Backend { .. })
}

/// Returns whether the operation timed out, so that the caller had to wait for the error. The engine may have wrapped the
/// error that says so.
pub fn is_timeout(error: &Error) -> bool {
    let outer: &(dyn std::error::Error + 'static) = error;
    let mut causes = iter::successors(outer.source(), |cause| cause.source());
    let is_timeout = |cause: &io::Error| cause.kind() == io::ErrorKind::TimedOut;
    is_failure(error) && causes.any(|cause| cause.downcast_ref().is_some_and(is_timeout))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn opened_at(now: Duration) -> Breaker {
        let mut breaker = Breaker::default();
        assert_eq!(breaker.fail(Failure::Timeout, Admission::Granted, now), Some(SECOND));
        breaker
    }

    #[test]
    fn breaker_opens_after_failures_in_a_row() {
        let mut breaker = Breaker::default();
        let fail = |breaker: &mut Breaker| breaker.fail(Failure::Immediate, Admission::Granted, SECOND);
        assert_eq!((fail(&mut breaker), fail(&mut breaker)), (None, None));
        assert!(!breaker.succeed());
        assert_eq!((fail(&mut breaker), fail(&mut breaker), fail(&mut breaker)), (None, None, Some(SECOND)));
        assert!(breaker.denies(SECOND));
    }

    #[test]
    fn breaker_opens_after_one_timeout() {
        assert!(opened_at(SECOND).denies(SECOND * 3 / 2));
    }

    #[test]
    fn only_one_operation_probes_after_the_pause() {
        let mut breaker = opened_at(SECOND);
        assert_eq!(breaker.admit(SECOND * 19 / 10), Admission::Denied);
        assert_eq!(breaker.admit(SECOND * 2), Admission::Probe);
        assert_eq!(breaker.admit(SECOND * 2), Admission::Denied);
        assert!(breaker.succeed());
        assert_eq!(breaker.admit(SECOND * 2), Admission::Granted);
    }

    #[test]
    fn pauses_double_up_to_one_minute() {
        let mut breaker = opened_at(Duration::ZERO);
        let mut now = SECOND;
        let mut pauses = Vec::new();
        for _ in 0..8 {
            assert_eq!(breaker.admit(now), Admission::Probe);
            assert_eq!(breaker.fail(Failure::Immediate, Admission::Probe, now), None);
            let (pause, until) = breaker.open.unwrap();
            assert_eq!(until, now + pause);
            pauses.push(pause.as_secs());
            now = until;
        }
        assert_eq!(pauses, [2, 4, 8, 16, 32, 60, 60, 60]);
        assert!(breaker.succeed());
        assert_eq!(breaker.fail(Failure::Timeout, Admission::Granted, now), Some(SECOND));
    }

    #[test]
    fn failures_of_operations_that_began_earlier_do_not_lengthen_the_pause() {
        let mut breaker = opened_at(SECOND);
        let open = breaker;
        assert_eq!(breaker.fail(Failure::Timeout, Admission::Granted, SECOND * 3 / 2), None);
        assert_eq!(breaker, open);
    }

    #[test]
    fn no_second_probe_starts_while_one_takes_long() {
        let mut breaker = opened_at(SECOND);
        assert_eq!(breaker.admit(SECOND * 2), Admission::Probe);
        assert_eq!(breaker.admit(SECOND * 30), Admission::Denied);
        assert_eq!(breaker.fail(Failure::Timeout, Admission::Probe, SECOND * 30), None);
        assert_eq!(breaker.admit(SECOND * 31), Admission::Denied);
        assert_eq!(breaker.admit(SECOND * 32), Admission::Probe);
    }

    #[test]
    fn failed_reads_stop_writes_but_failed_writes_do_not_stop_reads() {
        let breakers = Breakers::new(Clock::default());
        breakers.fail(Operation::WriteRecord, GRANTED, Failure::Timeout);
        assert!(breakers.is_denied(Operation::WriteRecord) && !breakers.is_denied(Operation::Claim));
        assert!(!breakers.is_denied(Operation::ReadRecord) && !breakers.is_denied(Operation::WriteValue));
        breakers.fail(Operation::ReadValue, GRANTED, Failure::Timeout);
        assert!(breakers.is_denied(Operation::WriteValue));
        assert!(breakers.succeed(Operation::ReadValue));
        assert!(!breakers.is_denied(Operation::WriteValue));
        assert!(breakers.has_failures.load(Relaxed));
        assert!(breakers.succeed(Operation::WriteRecord));
        assert!(!breakers.has_failures.load(Relaxed));
    }

    #[test]
    fn claims_and_records_are_left_alone_independently() {
        for (one, other) in [(Operation::Claim, Operation::WriteRecord), (Operation::WriteRecord, Operation::Claim)] {
            let breakers = Breakers::new(Clock::default());
            assert!(breakers.fail(one, GRANTED, Failure::Timeout).is_some());
            assert!(breakers.is_denied(one) && !breakers.is_denied(other));
            assert!(!breakers.succeed(other) && breakers.is_denied(one));
        }
    }

    #[test]
    fn claim_does_not_count_as_a_read_and_waits_for_a_successful_one() {
        let seconds = Arc::new(AtomicU64::new(0));
        let clock = seconds.clone();
        let breakers = Breakers::new(Clock::Set(Arc::new(move || Duration::from_secs(clock.load(Relaxed)))));
        for _ in 0..3 {
            breakers.fail(Operation::ReadRecord, GRANTED, Failure::Immediate);
            breakers.succeed(Operation::Claim);
        }
        assert!(breakers.is_denied(Operation::ReadRecord) && breakers.is_denied(Operation::Claim));
        seconds.store(1, Relaxed);
        assert!(!breakers.is_denied(Operation::ReadRecord) && breakers.admit(Operation::Claim).is_none());
        let probe = Admissions { own: Admission::Probe, reading: Admission::Granted };
        assert_eq!(breakers.admit(Operation::ReadRecord), Some(probe));
        assert!(breakers.succeed(Operation::ReadRecord));
        assert_eq!(breakers.admit(Operation::Claim), Some(GRANTED));
    }

    #[test]
    fn failed_write_that_probes_reading_counts_for_both() {
        let seconds = Arc::new(AtomicU64::new(0));
        let clock = seconds.clone();
        let breakers = Breakers::new(Clock::Set(Arc::new(move || Duration::from_secs(clock.load(Relaxed)))));
        breakers.fail(Operation::ReadRecord, GRANTED, Failure::Timeout);
        seconds.store(1, Relaxed);
        let probe = Admissions { own: Admission::Granted, reading: Admission::Probe };
        assert_eq!(breakers.admit(Operation::WriteRecord), Some(probe));
        assert!(breakers.fail(Operation::WriteRecord, probe, Failure::Timeout).is_some());
        seconds.store(2, Relaxed);
        assert!(breakers.is_denied(Operation::ReadRecord), "the pause of the read breaker is not two seconds");
        seconds.store(3, Relaxed);
        assert!(!breakers.is_denied(Operation::ReadRecord));
    }

    #[test]
    fn returned_probe_leaves_the_breakers_open_and_another_operation_probes() {
        let seconds = Arc::new(AtomicU64::new(0));
        let clock = seconds.clone();
        let breakers = Breakers::new(Clock::Set(Arc::new(move || Duration::from_secs(clock.load(Relaxed)))));
        for operation in [Operation::ReadRecord, Operation::WriteRecord] {
            breakers.fail(operation, GRANTED, Failure::Timeout);
        }
        seconds.store(1, Relaxed);
        let probe = Admissions { own: Admission::Probe, reading: Admission::Probe };
        for _ in 0..2 {
            assert_eq!(breakers.admit(Operation::WriteRecord), Some(probe));
            assert!(breakers.is_denied(Operation::ReadRecord) && breakers.is_denied(Operation::WriteRecord));
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
        let of_engine = Error::backend("s")(Error::io("read", "f")(timeout()));
        let twice = Error::backend("outer")(io::Error::other(Error::backend("s")(timeout())));
        for timeout in [Error::io("read", "f")(timeout()), Error::backend("s")(timeout()), of_engine, twice] {
            assert!(is_failure(&timeout) && is_timeout(&timeout));
        }
        assert!(!is_timeout(&Error::backend("s")("broken")));
        assert!(!is_timeout(&Error::backend("s")(Error::io("read", "f")(io::ErrorKind::NotFound.into()))));
    }
}
