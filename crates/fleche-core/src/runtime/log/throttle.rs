//! `Throttle`: limits how often a repeated warning is emitted.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The field with the number of omitted messages. Events with this field are always printed.
pub(super) const REPEATS: &str = "repeats";

/// The minimum time between two messages of one kind.
const INTERVAL: Duration = Duration::from_mins(1);
/// The maximum number of kinds that are counted separately; further ones share the last.
const KINDS: usize = 32;

/// Records the messages that one place in the code has emitted.
#[derive(Debug, Default)]
pub struct Throttle(Mutex<Vec<Kind>>);

#[derive(Debug)]
struct Kind {
    number: u64,
    emitted: Instant,
    /// The number of messages that were omitted since the last one.
    left_out: u64,
}

impl Throttle {
    /// Creates a throttle that has emitted nothing.
    pub const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Counts a message of this kind. If it is due, returns how many were omitted since the last one. The first message
    /// of a kind is due, and so is the first one after a minute.
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
    fn message_is_due_once_a_minute_and_counts_omitted_ones() {
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
    fn number_of_kinds_is_bounded() {
        let (throttle, now) = (Throttle::new(), Instant::now());
        let due = (0..1000).filter(|kind| throttle.due_at(*kind, now).is_some()).count();
        assert_eq!(due, KINDS);
    }
}
