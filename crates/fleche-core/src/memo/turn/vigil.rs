//! One wait for a call that somebody else computes: told, counted, seen by others, and given up where it would not end.

use std::{
    mem, ptr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::Waker,
    time::{Duration, Instant, SystemTime},
};

use super::super::{attempt::attempt, events::TARGET};
use crate::{
    cache::{Cache, Operation},
    call::CallKey,
    claim::{Flight, Owner, Published, Route, Sight, Stall, Unpolled, WaitsHere, look, look_for_stall},
    function::Function,
};

/// So often somebody who has claims looks whether he is waited for in turn.
const LOOKS: Duration = Duration::from_millis(50);
/// So often somebody who waits on a thread looks whether its process stands still, after as long.
const STILL: Duration = Duration::from_secs(1);
/// How often a waiter checks whether the leading future is polled: the shortest and the longest interval.
const UNPOLLED_LOOKS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));
/// A future that was woken this long ago and is not polled is held by its task, provided that the waiter is woken in time.
const UNPOLLED: Duration = Duration::from_secs(10);
/// The same where a thread waits: it is woken in time even if all threads of the future's runtime are busy.
const UNPOLLED_BY_OTHERS: Duration = Duration::from_mins(1);
/// A waiter that is woken later than this after its due time is not woken in time.
const IN_TIME: Duration = Duration::from_millis(500);
/// So long somebody who has claims waits where that cannot be seen, or where another does not go on who should.
const UNSEEN: Duration = Duration::from_secs(1);

/// So many digits of a key tell which call it is.
const KEY_DIGITS: usize = 12;

pub(super) struct Vigil<'a> {
    function: &'static Function,
    cache: &'a Cache,
    route: Route,
    published: Published,
    begun: Instant,
    until: Option<Instant>,
    /// Since when it cannot be seen that nobody waits for this one.
    unseen: Option<Instant>,
    /// The flight that is waited for; `None` for a claim.
    flight: Option<Arc<Flight>>,
    /// When the next look is due.
    due: Option<Instant>,
    /// A leader that the last look has found woken and not polled.
    unpolled: Option<Unpolled>,
    /// The same, of the task that waits itself, when it was last polled.
    unpolled_here: Option<Unpolled>,
    /// How long it is to have been so.
    unpolled_for: Duration,
    /// Whether the warning that the wait takes long was logged.
    told: bool,
}

/// How a wait ends.
pub(super) enum Verdict<R> {
    /// With what was waited for.
    Came(R),
    /// Without: its time is over, or it would not end.
    GoAhead,
}

impl<'a> Vigil<'a> {
    /// Begins a wait for the call from within these flights.
    pub(super) fn begin(
        function: &'static Function,
        cache: &'a Cache,
        route: Route,
        from: &[Arc<Flight>],
        until: Option<Instant>,
    ) -> Self {
        cache.counters().wait();
        let published = Published::new(route, from);
        Self {
            function,
            cache,
            route,
            published,
            begun: Instant::now(),
            until,
            unseen: None,
            flight: None,
            due: None,
            unpolled: None,
            unpolled_here: None,
            unpolled_for: UNPOLLED,
            told: false,
        }
    }

    /// Notes that this waits for a flight of this process, and logs that.
    pub(super) fn for_flight(&mut self, flight: &Arc<Flight>) {
        self.flight = Some(flight.clone());
        self.tell(Some(flight.begun()));
    }

    /// Notes that this waits for the claim of the call, and logs the holder.
    pub(super) fn for_claim(&self) {
        self.tell(None);
    }

    /// Lets the log say who is waited for: another process, or a flight of this one, on its way since then.
    fn tell(&self, flight: Option<Instant>) {
        let (function, key) = (self.function.name(), self.route.key);
        if let Some(begun) = flight {
            let (process, age) = (std::process::id(), begun.elapsed());
            tracing::debug!(target: TARGET, function, %key, process, ?age, "waiting for the same call in this process");
        } else if tracing::enabled!(target: TARGET, tracing::Level::INFO) {
            let owner = self.owner(&self.route.key);
            let (host, process) = owner.as_ref().map(|owner| (owner.host.as_str(), owner.process)).unzip();
            let age = owner.as_ref().map(Owner::age);
            tracing::info!(target: TARGET, function, %key, host, process, ?age, "waiting for the same call in another process");
        }
    }

    fn owner(&self, key: &CallKey) -> Option<Owner> {
        self.cache.ask(Operation::Claim, || attempt(|| self.cache.calls().owner(key))).ok().flatten()
    }

    /// When to look up from the wait next, if at all.
    pub(super) fn next_look(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let owner = self.published.is_owner().then(|| now + LOOKS);
        let (often, seldom) = UNPOLLED_LOOKS;
        let polled = self.flight.as_ref().filter(|flight| flight.polls().is_some());
        let polled = polled.map(|_| now + (now - self.begun).clamp(often, seldom));
        let tells = (!self.told).then(|| self.begun.checked_add(long_wait())).flatten();
        self.due = [owner, polled, tells, self.until].into_iter().flatten().min();
        self.due
    }

    /// Whether to give up, which is asked when the time to look has come.
    pub(super) fn is_over(&mut self) -> bool {
        let now = Instant::now();
        if self.until.is_some_and(|until| until <= now) {
            tracing::debug!(target: TARGET, function = self.function.name(), key = %self.route.key, "the wait has lasted too long");
            return true;
        }
        if !self.told && now - self.begun >= long_wait() {
            self.told = true;
            self.tell_that_it_takes_long();
        }
        if self.is_unpolled(now) {
            self.cache.counters().circle();
            return true;
        }
        if !self.published.is_owner() {
            return false;
        }
        let circle = match look(&self.published.own(), self.route.key, |key: &_| self.owner(key)) {
            Sight::Clear if !self.published.hides() => {
                self.unseen = None;
                false
            }
            Sight::Circle => true,
            Sight::Clear | Sight::Theirs | Sight::Hidden => {
                now.duration_since(*self.unseen.get_or_insert(now)) >= UNSEEN
            }
        };
        if circle {
            self.cache.counters().circle();
        }
        circle
    }

    /// Returns whether the leader is a future that its task holds without polling it. Where all tasks are delayed, this waiter
    /// is not woken in time either, so the delay of the leader proves nothing.
    fn is_unpolled(&mut self, now: Instant) -> bool {
        let in_time = self.due.is_some_and(|due| now.saturating_duration_since(due) < IN_TIME);
        let unpolled = self.flight.as_ref().and_then(|flight| flight.polls()?.unpolled()).filter(|_| in_time);
        let is_long =
            unpolled.is_some_and(|unpolled| now.saturating_duration_since(unpolled.woken) >= self.unpolled_for);
        let before = mem::replace(&mut self.unpolled, unpolled);
        is_long && before == unpolled
    }

    /// Returns whether the leader is a future of the task with this waker, was woken, and is not polled by the task. Called each
    /// time the task polls the waiter: a task that polls both has polled the leader between two calls. The leader keeps a clone
    /// of the waker, so no other task gets an equal one. A task that polls the waiter twice before it polls the leader once
    /// looks the same; then the waiter computes the call itself.
    pub(super) fn is_held_by(&mut self, task: &Waker) -> bool {
        let Some(polls) = self.flight.as_ref().and_then(|flight| flight.polls()) else { return false };
        let unpolled = polls.unpolled().filter(|_| polls.is_of(task));
        let before = mem::replace(&mut self.unpolled_here, unpolled);
        if unpolled.is_some() && before == unpolled {
            self.cache.counters().circle();
            return true;
        }
        if unpolled.is_some() {
            task.wake_by_ref();
        }
        false
    }

    /// Logs which call is waited for, who computes it and what can be done about it.
    fn tell_that_it_takes_long(&self) {
        let (function, waited) = (self.function.name(), self.begun.elapsed().as_secs());
        let key: String = self.route.key.to_string().chars().take(KEY_DIGITS).collect();
        let here = self.flight.as_ref().filter(|flight| !flight.seeks_claim());
        let by = match here {
            Some(flight) => computed_here(flight),
            None => match self.owner(&self.route.key) {
                Some(owner) => format!(
                    "process {} on {}, since {}",
                    owner.process,
                    owner.host,
                    humantime::format_rfc3339_seconds(owner.since)
                ),
                None => "another process".to_owned(),
            },
        };
        crate::log::warn!(
            "`{function}` has waited {waited} s for its call {key}…, which is computed by {by}; if that may not end, bound the \
             wait: `#[fleche(wait_timeout = \"1h\")]`"
        );
    }

    /// Waits on this thread for the flight, or as its leader: `wait` blocks until what is waited for has come, or until
    /// then.
    pub(super) fn keep<R>(&mut self, flight: &Arc<Flight>, wait: impl Fn(Option<Instant>) -> Option<R>) -> Verdict<R> {
        let _waits = WaitsHere::begin();
        self.unpolled_for = UNPOLLED_BY_OTHERS;
        // All frames of the caller lie above this variable.
        let above = 0_u8;
        let stack = ptr::from_ref(&above).addr();
        let mut still = self.begun + STILL;
        let mut presumed = None;
        loop {
            if let Some(come) = wait(Some(self.next_look().map_or(still, |look| look.min(still)))) {
                return Verdict::Came(come);
            }
            if self.is_over() {
                return Verdict::GoAhead;
            }
            let now = Instant::now();
            if now >= still {
                match look_for_stall(flight, stack, |key| self.owner(key)) {
                    Stall::Yes => {
                        self.cache.counters().circle();
                        return Verdict::GoAhead;
                    }
                    Stall::Perhaps(published) => presumed = presumed.or(Some(published)),
                    Stall::No => presumed = None,
                }
                still = now + STILL / 2;
            }
        }
    }
}

/// Who computes the call in this process, and since when.
fn computed_here(flight: &Flight) -> String {
    let since = SystemTime::now().checked_sub(flight.begun().elapsed()).unwrap_or(SystemTime::UNIX_EPOCH);
    let whose = match flight.thread() {
        Some(thread) => format!("thread {thread}{} of this process", name_of(thread)),
        None if flight.polls().is_some() => "a task of this process".to_owned(),
        None => "this process".to_owned(),
    };
    format!("{whose} ({}), since {}", std::process::id(), humantime::format_rfc3339_seconds(since))
}

/// The name of a thread, in parentheses, where the system tells it.
fn name_of(thread: i32) -> String {
    let name = std::fs::read_to_string(format!("/proc/self/task/{thread}/comm"));
    name.map_or_else(|_| String::new(), |name| format!(" (`{}`)", name.trim_end()))
}

/// How long a wait lasts before it is logged, in milliseconds.
static LONG_WAIT: AtomicU64 = AtomicU64::new(60_000);

fn long_wait() -> Duration {
    Duration::from_millis(LONG_WAIT.load(Relaxed))
}

/// Sets the length from which waits are logged, in place of a minute. For tests.
pub fn tell_waits_of(time: Duration) {
    LONG_WAIT.store(time.as_millis().try_into().unwrap_or(u64::MAX), Relaxed);
}

impl Drop for Vigil<'_> {
    fn drop(&mut self) {
        self.cache.counters().waited(self.begun.elapsed());
    }
}
