//! `Throttle`: when a warning that keeps coming is due.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The field that says how many messages were left out. Events that have it are printed whatever was printed before.
pub(super) const REPEATS: &str = "repeats";

/// A kind of message is emitted at most once in this time.
const INTERVAL: Duration = Duration::from_mins(1);
/// More kinds than this are taken for one.
const KINDS: usize = 32;

/// What was emitted of the messages of one place.
#[derive(Debug, Default)]
pub struct Throttle(Mutex<Vec<Kind>>);

#[derive(Debug)]
struct Kind {
    number: u64,
    emitted: Instant,
    /// How many were left out since.
    left_out: u64,
}

impl Throttle {
    /// Creates one that has emitted nothing.
    pub const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Counts a message of this kind. Returns how many were left out since the last one if the message is due, as the first
    /// of its kind and the first after a minute are.
    pub fn due(&self, kind: u64) -> Option<u64> {
        self.due_at(kind, Instant::now())
    }

    fn due_at(&self, number: u64, now: Instant) -> Option<u64> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kind) = kinds.iter_mut().find(|kind| kind.number == number) {
            return kind.due(now);
        }
        if kinds.len() == KINDS
            && let Some(last) = kinds.last_mut()
        {
            return last.due(now);
        }
        kinds.push(Kind { number, emitted: now, left_out: 0 });
        Some(0)
    }
}

impl Kind {
    fn due(&mut self, now: Instant) -> Option<u64> {
        if now.saturating_duration_since(self.emitted) < INTERVAL {
            self.left_out += 1;
            return None;
        }
        self.emitted = now;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_is_due_first_and_once_a_minute_and_counts_those_between() {
        let (throttle, begun) = (Throttle::new(), Instant::now());
        let after = |seconds| begun + Duration::from_secs(seconds);
        assert_eq!(throttle.due_at(1, begun), Some(0));
        for seconds in 1..60 {
            assert_eq!(throttle.due_at(1, after(seconds)), None);
        }
        assert_eq!(throttle.due_at(2, after(59)), Some(0), "another kind");
        assert_eq!(throttle.due_at(1, after(60)), Some(59));
        assert_eq!(throttle.due_at(1, after(61)), None);
        assert_eq!(throttle.due_at(1, after(120)), Some(1));
    }

    #[test]
    fn kinds_are_bounded() {
        let (throttle, now) = (Throttle::new(), Instant::now());
        let due = (0..1000).filter(|kind| throttle.due_at(*kind, now).is_some()).count();
        assert_eq!(due, KINDS);
    }
}
