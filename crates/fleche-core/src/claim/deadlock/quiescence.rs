//! Detects quiescence: whether no thread of this process makes progress, as far as the system reports it.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use super::threads::{BoundedWait, Futex, ThreadSample, ThreadState, WaitEnd, may_hold, sample_all};
use crate::runtime::internal_threads::{self, InternalThreads, ThreadId};

/// The time for which all threads must have been parked for the process to be quiescent.
const QUIESCENT_AFTER: Duration = Duration::from_secs(1);
/// Like [`QUIESCENT_AFTER`], if some of the threads wait with a timeout and have not woken. Threads that poll wake more often
/// than this.
const QUIESCENT_AFTER_IF_TIMED: Duration = Duration::from_secs(5);
/// Like [`QUIESCENT_AFTER`], if some of the threads are idle and none has woken. What they wait for may still arrive.
const QUIESCENT_AFTER_IF_IDLE: Duration = Duration::from_mins(5);
/// The time after which a waiting thread counts as blocked by the holder of the lock, if other threads only slept and woke.
const LOCKED_AFTER: Duration = Duration::from_secs(5);
/// The minimum interval between two samples of the threads.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(200);

/// The result of the latest sample, compared with earlier ones.
#[derive(Default)]
pub(super) struct QuiescenceDetector(Option<Observation>);

struct Observation {
    at: Instant,
    cpu_time: HashMap<ThreadId, Duration>,
    parked: HashSet<ThreadId>,
    /// The threads that are parked with a timeout.
    for_a_time: HashSet<ThreadId>,
    has_idle: bool,
    /// The lock that each thread waits for.
    locks: HashMap<ThreadId, Locked>,
    /// The time since which no thread has made progress.
    since: Instant,
    /// The time since which threads have at most slept and woken.
    since_but_for_sleepers: Instant,
}

/// A lock that a thread waits for.
struct Locked {
    futex: Futex,
    /// The time since which the waiting thread has not run.
    since: Instant,
    /// The threads that existed then, and whether each has rested since.
    others: HashMap<ThreadId, Resting>,
}

/// Whether a thread rests while another one waits for a lock.
#[derive(Clone, Copy)]
enum Resting {
    /// The thread has not rested yet.
    NotYet,
    /// The thread rests in this wait. The duration is the processor time that it had used when the rest began.
    Since(Duration, BoundedWait),
    /// The thread woke, and the wait for the lock did not end. The thread may be one that wakes regularly, such as a
    /// progress ticker.
    Woke,
}

impl Resting {
    /// Returns the new state after this sample of the thread.
    fn after(self, seen: &ThreadSample) -> Self {
        match (self, seen.rests) {
            (Self::NotYet, Some(rest)) => Self::Since(seen.cpu_time, rest),
            (Self::Since(cpu_time, _), _) if cpu_time != seen.cpu_time => Self::Woke,
            _ => self,
        }
    }
}

impl Locked {
    /// Returns whether a thread that has rested ever since may hold the lock, and will release it without help. Threads
    /// that wait without a timeout do not count: the parent of scoped threads also has pointers to their locks, and it
    /// waits for them. A thread that woke does not count either, because it may never release the lock.
    fn may_be_released(&self, now: Instant) -> bool {
        // A rest may never end, such as a sleep for the longest duration.
        now.duration_since(self.since) < QUIESCENT_AFTER_IF_IDLE
            && self.others.iter().any(|(thread, resting)| {
                let Resting::Since(_, rest) = resting else { return false };
                self.ends(*rest) && may_hold(*thread, *rest, self.futex.address)
            })
    }

    /// Returns whether the rest ends by itself.
    fn ends(&self, rest: BoundedWait) -> bool {
        let mut rest = rest;
        // Wrongly recognized joins may form a cycle, so the number of steps is limited.
        for _ in 0..=self.others.len() {
            let WaitEnd::EndOf(thread) = rest.until else { return true };
            let Some(Resting::Since(_, next)) = self.others.get(&thread) else { return false };
            rest = *next;
        }
        false
    }
}

impl QuiescenceDetector {
    pub(super) const fn new() -> Self {
        Self(None)
    }

    /// Returns the parked threads, except fleche's own waiting ones, if the process is quiescent. Returns `None` if a
    /// thread makes progress or may do so, or if the system does not report its threads.
    pub(super) fn parked(&mut self) -> Option<HashSet<ThreadId>> {
        let now = Instant::now();
        if self.0.as_ref().is_none_or(|looked| now.duration_since(looked.at) >= SAMPLE_INTERVAL) {
            self.look(&sample_all()?, &internal_threads::known(), now);
        }
        self.0.as_ref()?.quiescent(now)
    }

    /// Returns the locks that parked threads wait for, each with its thread, if other threads only sleep and wake.
    pub(super) fn locks(&self) -> Vec<(ThreadId, usize)> {
        let Some(looked) = &self.0 else { return Vec::new() };
        let is_long = |since: Instant| looked.at.duration_since(since) >= LOCKED_AFTER;
        let locks =
            looked.locks.iter().filter(|(_, lock)| is_long(lock.since) && is_long(looked.since_but_for_sleepers));
        locks.map(|(thread, lock)| (*thread, lock.futex.address)).collect()
    }

    /// Returns whether this thread waits for a lock that a resting thread may hold and will release without help.
    pub(super) fn may_get_lock(&self, thread: ThreadId) -> bool {
        let Some(looked) = &self.0 else { return false };
        looked.locks.get(&thread).is_some_and(|lock| lock.may_be_released(looked.at))
    }

    /// Discards all samples, because a thread is about to proceed.
    pub(super) fn end(&mut self) {
        self.0 = None;
    }

    /// Records a sample of the threads.
    fn look(&mut self, threads: &[ThreadSample], ours: &InternalThreads, now: Instant) {
        let others = || threads.iter().filter(|thread| !ours.wait_for_nothing.contains(&thread.id));
        let mut before = self.0.take();
        let mut known_locks = before.as_mut().map(|before| std::mem::take(&mut before.locks)).unwrap_or_default();
        // A thread that wakes from a sleep checks for something, and another thread may wait for the outcome.
        let sleeps = |state| matches!(state, ThreadState::Idle | ThreadState::ParkedForATime);
        let happens = |tolerated: &dyn Fn(ThreadState, Duration) -> Duration| {
            let Some(before) = &before else { return true };
            // A thread that only checks a clock occasionally does not count as working.
            let nothing = (now - before.at) / 100 + Duration::from_millis(1);
            let works = others().any(|thread| {
                // A thread that has cpu_time less than before is a new one with the same id.
                let cpu_time =
                    before.cpu_time.get(&thread.id).and_then(|cpu_time| thread.cpu_time.checked_sub(*cpu_time));
                let nothing = tolerated(thread.state, nothing);
                thread.state == ThreadState::Busy || cpu_time.is_none_or(|cpu_time| cpu_time > nothing)
            });
            works || ours.is_owed
        };
        let strict = happens(&|state, nothing| if sleeps(state) { Duration::ZERO } else { nothing });
        let but_for_sleepers = happens(&|_, nothing| nothing);
        let since =
            |happens: bool, since: fn(&Observation) -> Instant| before.as_ref().filter(|_| !happens).map_or(now, since);
        let ids = |state| others().filter(move |thread| thread.state == state).map(|thread| thread.id).collect();
        let mut lock = |thread: &ThreadSample| {
            let futex = thread.futex.filter(|futex| thread.state == ThreadState::Parked && futex.is_lock())?;
            let has_run =
                || before.as_ref().and_then(|before| before.cpu_time.get(&thread.id)) != Some(&thread.cpu_time);
            let known = known_locks.remove(&thread.id).filter(|known| known.futex == futex && !has_run());
            let resting = |seen: &ThreadSample| {
                let known =
                    known.as_ref().map_or(Some(Resting::NotYet), |known| known.others.get(&seen.id).copied())?;
                Some((seen.id, known.after(seen)))
            };
            let others = others().filter(|seen| seen.id != thread.id).filter_map(resting).collect();
            Some((thread.id, Locked { futex, since: known.map_or(now, |known| known.since), others }))
        };
        self.0 = Some(Observation {
            at: now,
            cpu_time: threads.iter().map(|thread| (thread.id, thread.cpu_time)).collect(),
            parked: ids(ThreadState::Parked),
            for_a_time: ids(ThreadState::ParkedForATime),
            has_idle: others().any(|thread| thread.state == ThreadState::Idle),
            locks: others().filter_map(&mut lock).collect(),
            since: since(strict, |before| before.since),
            since_but_for_sleepers: since(but_for_sleepers, |before| before.since_but_for_sleepers),
        });
    }
}

impl Observation {
    /// Returns the parked threads if no thread has made progress for long enough. Threads that wait with a timeout
    /// resume without help, so they are included only after a much longer time.
    fn quiescent(&self, now: Instant) -> Option<HashSet<ThreadId>> {
        let since = now.duration_since(self.since);
        let needed = match (self.has_idle, self.for_a_time.is_empty()) {
            (true, _) => QUIESCENT_AFTER_IF_IDLE,
            (false, true) => QUIESCENT_AFTER,
            (false, false) => QUIESCENT_AFTER_IF_TIMED,
        };
        let counted = |for_a_time: &&ThreadId| since >= QUIESCENT_AFTER_IF_IDLE || self.parked.contains(for_a_time);
        (since >= needed).then(|| self.parked.iter().chain(self.for_a_time.iter().filter(counted)).copied().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the number of parked threads that each sample reports as quiescent, with one sample per second.
    fn parked(looks: &[&[(ThreadId, ThreadState, u64)]]) -> Vec<Option<usize>> {
        parked_beside(&InternalThreads { wait_for_nothing: [9].into(), ..InternalThreads::default() }, looks)
    }

    fn parked_beside(ours: &InternalThreads, looks: &[&[(ThreadId, ThreadState, u64)]]) -> Vec<Option<usize>> {
        let (mut detector, begun) = (QuiescenceDetector::default(), Instant::now());
        let look = |(second, threads): (u64, &&[(ThreadId, ThreadState, u64)])| {
            let seen = |(id, state, cpu_time): &(ThreadId, ThreadState, u64)| ThreadSample {
                id: *id,
                state: *state,
                futex: None,
                cpu_time: Duration::from_millis(*cpu_time),
                rests: None,
            };
            let threads: Vec<_> = threads.iter().map(seen).collect();
            // Samples are in the future, so none counts as outdated.
            detector.look(&threads, ours, begun + Duration::from_secs(second + 1_000));
            let looked = detector.0.as_ref().unwrap();
            looked.quiescent(looked.at).map(|parked| parked.len())
        };
        (0..).zip(looks).map(look).collect()
    }

    #[test]
    fn threads_parked_for_a_second_are_quiescent() {
        let all = [(1, ThreadState::Parked, 5), (2, ThreadState::Parked, 5)].as_slice();
        assert_eq!(parked(&[all, all]), [None, Some(2)]);
    }

    #[test]
    fn working_or_new_thread_counts_as_progress() {
        let one = |cpu_time| [(1, ThreadState::Parked, 5), (2, ThreadState::Parked, cpu_time)];
        assert_eq!(parked(&[&one(5), &one(50), &one(95), &one(96)]), [None, None, None, Some(2)]);
        assert_eq!(parked(&[&one(5)[..1], &one(5), &one(5)]), [None, None, Some(2)]);
        assert_eq!(parked(&[&one(5), &one(3), &one(3)]), [None, None, Some(2)], "a new thread with the same id");
        let busy = [(1, ThreadState::Parked, 5), (2, ThreadState::Busy, 5)].as_slice();
        assert_eq!(parked(&[busy, busy, busy]), [None; 3]);
    }

    #[test]
    fn threads_parked_with_a_timeout_are_quiescent_later() {
        let all = [(1, ThreadState::Parked, 5), (2, ThreadState::ParkedForATime, 5)].as_slice();
        let found = parked(&vec![all; 301]);
        assert_eq!((found[4], found[5], found[299], found[300]), (None, Some(1), Some(1), Some(2)));
    }

    #[test]
    fn polling_between_timed_waits_counts_as_progress() {
        let looks: Vec<_> = (0..400)
            .map(|second| [(1, ThreadState::Parked, 5), (2, ThreadState::ParkedForATime, second / 4)])
            .collect();
        let looks: Vec<_> = looks.iter().map(<[_; 2]>::as_slice).collect();
        assert_eq!(parked(&looks), vec![None; 400]);
    }

    /// The state, futex and processor time in microseconds of two threads.
    type Two = [(ThreadState, Option<Futex>, u64); 2];

    /// Returns the number of threads found blocked on a lock after each sample, with one sample per second.
    fn locked(looks: &[Two]) -> Vec<usize> {
        let (mut detector, begun) = (QuiescenceDetector::default(), Instant::now());
        let look = |(second, threads): (u64, &Two)| {
            let seen = |(id, (state, futex, cpu_time)): (ThreadId, &(ThreadState, Option<Futex>, u64))| ThreadSample {
                id,
                state: *state,
                futex: *futex,
                cpu_time: Duration::from_micros(*cpu_time),
                rests: None,
            };
            let threads: Vec<_> = (1..).zip(threads).map(seen).collect();
            detector.look(&threads, &InternalThreads::default(), begun + Duration::from_secs(second + 1_000));
            detector.locks().len()
        };
        (0..).zip(looks).map(look).collect()
    }

    #[test]
    fn blocked_lock_is_found_while_other_threads_sleep_and_wake() {
        let lock = Some(Futex { address: 0x1000, expected: 2 });
        let sleeps = |second: u64| (ThreadState::Idle, None, 100 * second);
        let looks = |lock, cpu_time: fn(u64) -> u64| -> Vec<_> {
            (0..8).map(|second| [(ThreadState::Parked, lock, cpu_time(second)), sleeps(second)]).collect()
        };
        assert_eq!(locked(&looks(lock, |_| 5)), [0, 0, 0, 0, 0, 1, 1, 1]);
        // A thread that acquired the lock in the meantime and waits for it again.
        assert_eq!(locked(&looks(lock, |second| second)), [0; 8]);
        // A condition variable, or a parked thread.
        for expected in [0, 1, 7, u32::MAX] {
            assert_eq!(locked(&looks(Some(Futex { address: 0x1000, expected }), |_| 5)), [0; 8]);
        }
        let busy: Vec<_> = (0..8).map(|_| [(ThreadState::Parked, lock, 5), (ThreadState::Busy, None, 5)]).collect();
        assert_eq!(locked(&busy), [0; 8]);
    }

    #[test]
    fn thread_that_woke_no_longer_counts_as_holder_of_a_lock() {
        let rest = |until| Some(BoundedWait { until, stack: 0 });
        let seen = |id, cpu_time, rests| ThreadSample {
            id,
            state: ThreadState::ParkedForATime,
            futex: None,
            cpu_time: Duration::from_nanos(cpu_time),
            rests,
        };
        let lock = |others: &[(ThreadId, Resting)]| Locked {
            futex: Futex { address: 0x1000, expected: 2 },
            since: Instant::now(),
            others: others.iter().copied().collect(),
        };
        let slept = Resting::NotYet.after(&seen(2, 5, None)).after(&seen(2, 7, rest(WaitEnd::Timeout)));
        let joined = Resting::NotYet.after(&seen(1, 5, rest(WaitEnd::EndOf(2))));
        assert!(matches!(slept.after(&seen(2, 7, rest(WaitEnd::Timeout))), Resting::Since(..)));
        let ends = |others: &[(ThreadId, Resting)], until| lock(others).ends(rest(until).unwrap());
        assert!(ends(&[(1, joined), (2, slept)], WaitEnd::EndOf(2)));
        assert!(ends(&[(1, joined), (2, slept)], WaitEnd::EndOf(1)));
        assert!(ends(&[(1, joined)], WaitEnd::Timeout));
        assert!(!ends(&[(1, joined)], WaitEnd::EndOf(2)), "a thread that was started later");
        let in_a_circle = Resting::NotYet.after(&seen(2, 5, rest(WaitEnd::EndOf(1))));
        assert!(!ends(&[(1, joined), (2, in_a_circle)], WaitEnd::EndOf(1)));
        let woke = slept.after(&seen(2, 8, rest(WaitEnd::Timeout)));
        assert!(matches!(woke.after(&seen(2, 8, rest(WaitEnd::Timeout))), Resting::Woke));
        assert!(!ends(&[(1, joined), (2, woke)], WaitEnd::EndOf(2)));
    }

    #[test]
    fn occasional_waking_from_sleep_counts_as_progress() {
        let looks: Vec<_> =
            (0..400).map(|second| [(1, ThreadState::Parked, 5), (2, ThreadState::Idle, second / 100)]).collect();
        let looks: Vec<_> = looks.iter().map(<[_; 2]>::as_slice).collect();
        assert_eq!(parked(&looks), vec![None; 400]);
    }

    #[test]
    fn own_waiting_threads_are_excluded() {
        let all = [(1, ThreadState::Parked, 5), (9, ThreadState::Busy, 5)].as_slice();
        assert_eq!(parked(&[all, all]), [None, Some(1)]);
    }

    #[test]
    fn pending_reply_of_another_process_counts_as_progress() {
        let all = [(1, ThreadState::Parked, 5)].as_slice();
        let ours = |is_owed| InternalThreads { is_owed, ..InternalThreads::default() };
        assert_eq!(parked_beside(&ours(false), &[all, all]), [None, Some(1)]);
        assert_eq!(parked_beside(&ours(true), &[all, all]), [None, None]);
    }

    #[test]
    fn idle_threads_delay_quiescence() {
        let all = [(1, ThreadState::Parked, 5), (2, ThreadState::Idle, 5)].as_slice();
        let looks = vec![all; 301];
        let found = parked(&looks);
        assert_eq!((found[299], found[300]), (None, Some(1)));
    }
}
