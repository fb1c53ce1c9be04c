//! Whether anything happens in this process, by what the system tells of its threads.

#[cfg(target_os = "linux")]
mod threads;

mod ours;

use std::{
    cell::Cell,
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

pub use ours::{Counted, ListensHere, Owed, WaitsHere};

/// A thread, by the system's number.
pub(crate) type ThreadId = i32;

/// What a thread is seen to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// It waits for another thread of this process.
    Parked,
    /// The same, for some time at most.
    ParkedForATime,
    /// It waits for what somebody may type, which no body rests on but its own.
    Listening,
    /// It waits for some time to pass, or for whatever may come, as a reactor does that has nothing to do.
    Idle,
    /// It works, or waits for something outside that was asked for.
    Busy,
}

/// A thread at some moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) id: ThreadId,
    pub(super) doing: Doing,
    /// The processor time that it has had.
    pub(super) worked: Duration,
}

/// What is known of threads of the framework's own.
#[derive(Clone, Debug, Default)]
pub(super) struct Ours {
    /// They wait for flights or claims, or hear what nobody has asked for.
    pub(super) wait_for_nothing: HashSet<ThreadId>,
    /// Whether one hears, or will, what was asked for.
    pub(super) is_owed: bool,
}

/// A process in which all threads have been parked for so long stands still.
const STILL: Duration = Duration::from_secs(1);
/// The same where some of them are idle, since what they wait for may come, and none of them has woken meanwhile.
const STILL_IF_IDLE: Duration = Duration::from_mins(5);
/// How often threads are looked at, at most.
const LOOKS: Duration = Duration::from_millis(200);

/// The calling thread; 0 where the system has no numbers for them. In a process that was forked and has not executed another
/// program it is the thread that has forked, which nobody sees standing still.
pub(crate) fn this_thread() -> ThreadId {
    #[cfg(target_os = "linux")]
    {
        let ask = || nix::unistd::gettid().as_raw();
        thread_local! {
            /// Asked once: a miss needs it, and the system takes as long for it as for a look-up.
            static THIS: Cell<ThreadId> = const { Cell::new(0) };
        }
        let known = THIS.try_with(|this| {
            if this.get() == 0 {
                this.set(ask());
            }
            this.get()
        });
        known.unwrap_or_else(|_| ask())
    }
    #[cfg(not(target_os = "linux"))]
    return 0;
}

fn seen() -> Option<Vec<Seen>> {
    #[cfg(target_os = "linux")]
    return threads::seen();
    #[cfg(not(target_os = "linux"))]
    return None;
}

/// What the last looks have found.
#[derive(Default)]
pub(super) struct Quiet(Option<Looked>);

struct Looked {
    at: Instant,
    worked: HashMap<ThreadId, Duration>,
    parked: HashSet<ThreadId>,
    /// Those of them that go on after some time in any case.
    for_a_time: HashSet<ThreadId>,
    has_idle: bool,
    /// Since when nothing has happened.
    since: Instant,
}

impl Quiet {
    pub(super) const fn new() -> Self {
        Self(None)
    }

    /// The threads that are parked, and not since they wait for a flight, if the process stands still; `None` where
    /// something happens, or may, or where the system does not tell.
    pub(super) fn parked(&mut self) -> Option<HashSet<ThreadId>> {
        let now = Instant::now();
        if self.0.as_ref().is_none_or(|looked| now.duration_since(looked.at) >= LOOKS) {
            self.look(&seen()?, &ours::known(), now);
        }
        self.0.as_ref()?.still(now)
    }

    /// Something is about to happen.
    pub(super) fn end(&mut self) {
        self.0 = None;
    }

    /// Takes note of what the threads do now.
    fn look(&mut self, threads: &[Seen], ours: &Ours, now: Instant) {
        let others = || threads.iter().filter(|thread| !ours.wait_for_nothing.contains(&thread.id));
        let happens = match &self.0 {
            None => true,
            Some(before) => {
                // Who looks at a clock now and then does not work.
                let nothing = (now - before.at) / 100 + Duration::from_millis(1);
                let works = others().any(|thread| {
                    let worked = before.worked.get(&thread.id).map(|worked| thread.worked.saturating_sub(*worked));
                    // Who sleeps and wakes again looks for something that somebody may wait for.
                    let nothing = if thread.doing == Doing::Idle { Duration::ZERO } else { nothing };
                    thread.doing == Doing::Busy || worked.is_none_or(|worked| worked > nothing)
                });
                works || ours.is_owed
            }
        };
        let ids = |doing| others().filter(move |thread| thread.doing == doing).map(|thread| thread.id).collect();
        self.0 = Some(Looked {
            at: now,
            worked: threads.iter().map(|thread| (thread.id, thread.worked)).collect(),
            parked: ids(Doing::Parked),
            for_a_time: ids(Doing::ParkedForATime),
            has_idle: others().any(|thread| thread.doing == Doing::Idle),
            since: self.0.as_ref().filter(|_| !happens).map_or(now, |before| before.since),
        });
    }
}

impl Looked {
    /// The threads that are parked, if nothing has happened for long enough. What is parked for a time goes on by itself, and
    /// counts only where nothing has happened for much longer.
    fn still(&self, now: Instant) -> Option<HashSet<ThreadId>> {
        let since = now.duration_since(self.since);
        let needed = if self.has_idle { STILL_IF_IDLE } else { STILL };
        let counted = |for_a_time: &&ThreadId| since >= STILL_IF_IDLE || self.parked.contains(for_a_time);
        (since >= needed).then(|| self.parked.iter().chain(self.for_a_time.iter().filter(counted)).copied().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What looks at these threads find, one a second.
    fn parked(looks: &[&[(ThreadId, Doing, u64)]]) -> Vec<Option<usize>> {
        parked_beside(&Ours { wait_for_nothing: [9].into(), ..Ours::default() }, looks)
    }

    fn parked_beside(ours: &Ours, looks: &[&[(ThreadId, Doing, u64)]]) -> Vec<Option<usize>> {
        let (mut quiet, begun) = (Quiet::default(), Instant::now());
        let look = |(second, threads): (u64, &&[(ThreadId, Doing, u64)])| {
            let seen = |(id, doing, worked): &(ThreadId, Doing, u64)| Seen {
                id: *id,
                doing: *doing,
                worked: Duration::from_millis(*worked),
            };
            let threads: Vec<_> = threads.iter().map(seen).collect();
            // Looks are in the future, so that none is taken for too old.
            quiet.look(&threads, ours, begun + Duration::from_secs(second + 1_000));
            let looked = quiet.0.as_ref().unwrap();
            looked.still(looked.at).map(|parked| parked.len())
        };
        (0..).zip(looks).map(look).collect()
    }

    #[test]
    fn threads_that_are_parked_for_a_second_stand_still() {
        let all = [(1, Doing::Parked, 5), (2, Doing::Parked, 5)].as_slice();
        assert_eq!(parked(&[all, all]), [None, Some(2)]);
    }

    #[test]
    fn a_thread_that_works_or_is_new_is_something_that_happens() {
        let one = |worked| [(1, Doing::Parked, 5), (2, Doing::Parked, worked)];
        assert_eq!(parked(&[&one(5), &one(50), &one(95), &one(96)]), [None, None, None, Some(2)]);
        assert_eq!(parked(&[&one(5)[..1], &one(5), &one(5)]), [None, None, Some(2)]);
        let busy = [(1, Doing::Parked, 5), (2, Doing::Busy, 5)].as_slice();
        assert_eq!(parked(&[busy, busy, busy]), [None; 3]);
    }

    #[test]
    fn what_goes_on_by_itself_is_no_sign_for_long() {
        let all = [(1, Doing::Parked, 5), (2, Doing::ParkedForATime, 5)].as_slice();
        let found = parked(&vec![all; 301]);
        assert_eq!((found[1], found[299], found[300]), (Some(1), Some(1), Some(2)));
    }

    #[test]
    fn who_wakes_from_a_sleep_now_and_then_makes_something_happen() {
        let looks: Vec<_> = (0..400).map(|second| [(1, Doing::Parked, 5), (2, Doing::Idle, second / 100)]).collect();
        let looks: Vec<_> = looks.iter().map(<[_; 2]>::as_slice).collect();
        assert_eq!(parked(&looks), vec![None; 400]);
    }

    #[test]
    fn what_waits_for_a_flight_is_known() {
        let all = [(1, Doing::Parked, 5), (9, Doing::Busy, 5)].as_slice();
        assert_eq!(parked(&[all, all]), [None, Some(1)]);
    }

    #[test]
    fn what_somebody_outside_is_to_answer_is_something_that_happens() {
        let all = [(1, Doing::Parked, 5)].as_slice();
        let ours = |is_owed| Ours { is_owed, ..Ours::default() };
        assert_eq!(parked_beside(&ours(false), &[all, all]), [None, Some(1)]);
        assert_eq!(parked_beside(&ours(true), &[all, all]), [None, None]);
    }

    #[test]
    fn beside_idle_threads_it_takes_longer() {
        let all = [(1, Doing::Parked, 5), (2, Doing::Idle, 5)].as_slice();
        let looks = vec![all; 301];
        let found = parked(&looks);
        assert_eq!((found[299], found[300]), (None, Some(1)));
    }
}
