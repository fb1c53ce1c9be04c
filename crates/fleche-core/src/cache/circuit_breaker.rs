//! `Breaker`: decides when an operation that fails repeatedly is tried again.

use std::time::Duration;

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
    Quick,
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
                if failure == Failure::Quick && self.failures < FAILURES {
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

#[cfg(test)]
mod tests {
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
        let fail = |breaker: &mut Breaker| breaker.fail(Failure::Quick, Admission::Granted, SECOND);
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
    fn pauses_double_up_to_a_minute() {
        let mut breaker = opened_at(Duration::ZERO);
        let mut now = SECOND;
        let mut pauses = Vec::new();
        for _ in 0..8 {
            assert_eq!(breaker.admit(now), Admission::Probe);
            assert_eq!(breaker.fail(Failure::Quick, Admission::Probe, now), None);
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
}
