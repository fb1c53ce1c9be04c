//! One wait for a call that another caller computes. It is logged, counted, visible to other claim holders, and given up if it
//! would not end.

use std::{
    mem, ptr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::Waker,
    time::{Duration, Instant, SystemTime},
};

use super::events::TARGET;
use crate::{
    cache::{Cache, Operation},
    call::CallKey,
    claim::{
        CallId, ClaimHolder, CycleCheck, DeadlockCheck, InFlightCall, PublishedWait, Unpolled, find_cycle,
        find_deadlock,
    },
    function::Function,
    job::catch_store_panic,
    runtime::internal_threads::WaiterThreadGuard,
};

/// The interval at which a waiting claim holder checks for a cycle of waits.
const CYCLE_CHECK_INTERVAL: Duration = Duration::from_millis(50);
/// The time after which a waiting thread first checks for a deadlock. Later intervals are half as long.
const FIRST_DEADLOCK_CHECK: Duration = Duration::from_secs(1);
/// The shortest and the longest interval between checks of whether the leading future is polled.
const POLL_CHECK_INTERVALS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));
/// The time after which a future that was woken and not polled counts as held by its task, provided that the waiter is
/// woken in time.
const UNPOLLED: Duration = Duration::from_secs(10);
/// Like [`UNPOLLED`], for a waiting thread, which is woken in time even if all threads of the future's runtime are busy.
const UNPOLLED_BY_OTHERS: Duration = Duration::from_mins(1);
/// The maximum delay with which a waiter counts as woken in time.
const IN_TIME: Duration = Duration::from_millis(500);
/// The time that a claim holder waits if a wait of another holder is not visible, or if the holder that should break a cycle
/// does not do so.
const UNSEEN: Duration = Duration::from_secs(1);

/// The number of digits of the key that warnings show.
const KEY_DIGITS: usize = 12;

/// A wait for a call that another caller computes.
pub(super) struct Wait<'a> {
    function: &'static Function,
    cache: &'a Cache,
    call_id: CallId,
    published: PublishedWait,
    begun: Instant,
    until: Option<Instant>,
    /// The time since which this wait could not rule out a cycle.
    unseen: Option<Instant>,
    /// The in-flight call that the caller waits for, or `None` if the caller waits for a claim.
    flight: Option<Arc<InFlightCall>>,
    /// The time at which the next check is due.
    due: Option<Instant>,
    /// The state of a leader that the last check found woken and not polled.
    unpolled: Option<Unpolled>,
    /// The state of the leader when this waiter's task last polled the waiter, if the leader belongs to the same task, was
    /// woken, and had not been polled.
    unpolled_here: Option<Unpolled>,
    /// The time after which the wait is given up if the leader was woken and not polled.
    unpolled_for: Duration,
    /// Whether the warning that the wait takes long was logged.
    has_warned: bool,
}

/// The end of a wait.
pub(super) enum WaitOutcome<R> {
    /// The awaited result or claim.
    Ready(R),
    /// The wait timed out or would not end. The waiter computes the call itself.
    Proceed,
}

impl<'a> Wait<'a> {
    /// Begins a wait for the call from within the bodies of these in-flight calls.
    pub(super) fn begin(
        function: &'static Function,
        cache: &'a Cache,
        call_id: CallId,
        from: &[Arc<InFlightCall>],
        until: Option<Instant>,
    ) -> Self {
        cache.counters().wait();
        let published = PublishedWait::new(call_id, from);
        Self {
            function,
            cache,
            call_id,
            published,
            begun: Instant::now(),
            until,
            unseen: None,
            flight: None,
            due: None,
            unpolled: None,
            unpolled_here: None,
            unpolled_for: UNPOLLED,
            has_warned: false,
        }
    }

    /// Records and logs that the wait is for an in-flight call of this process.
    pub(super) fn for_flight(&mut self, flight: &Arc<InFlightCall>) {
        self.flight = Some(flight.clone());
        self.tell(Some(flight.begun()));
    }

    /// Logs that the wait is for the call's claim, and which process holds it.
    pub(super) fn for_claim(&self) {
        self.tell(None);
    }

    /// Logs the subject of the wait: an in-flight call of this process that began at `flight`, or else another process.
    fn tell(&self, flight: Option<Instant>) {
        let (function, key) = (self.function.name(), self.call_id.key);
        if let Some(begun) = flight {
            let (process, age) = (std::process::id(), begun.elapsed());
            tracing::debug!(target: TARGET, function, %key, process, ?age, "waiting for the same call in this process");
        } else if tracing::enabled!(target: TARGET, tracing::Level::INFO) {
            let claim_holder = self.claim_holder(&self.call_id.key);
            let (host, process) =
                claim_holder.as_ref().map(|claim_holder| (claim_holder.host.as_str(), claim_holder.process)).unzip();
            let age = claim_holder.as_ref().map(ClaimHolder::age);
            tracing::info!(target: TARGET, function, %key, host, process, ?age, "waiting for the same call in another process");
        }
    }

    fn claim_holder(&self, key: &CallKey) -> Option<ClaimHolder> {
        self.cache.ask(Operation::Claim, || catch_store_panic(|| self.cache.calls().claim_holder(key))).ok().flatten()
    }

    /// Returns when the wait must next be interrupted for a check, if at all.
    pub(super) fn next_look(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let claim_holder = self.published.is_owner().then(|| now + CYCLE_CHECK_INTERVAL);
        let (often, seldom) = POLL_CHECK_INTERVALS;
        let polled = self.flight.as_ref().filter(|flight| flight.polls().is_some());
        let polled = polled.map(|_| now + (now - self.begun).clamp(often, seldom));
        let tells = (!self.has_warned).then(|| self.begun.checked_add(long_wait())).flatten();
        self.due = [claim_holder, polled, tells, self.until].into_iter().flatten().min();
        self.due
    }

    /// Returns whether to give up the wait. Called when a check is due.
    pub(super) fn is_over(&mut self) -> bool {
        let now = Instant::now();
        if self.until.is_some_and(|until| until <= now) {
            tracing::debug!(target: TARGET, function = self.function.name(), key = %self.call_id.key, "the wait has lasted too long");
            return true;
        }
        if !self.has_warned && now - self.begun >= long_wait() {
            self.has_warned = true;
            self.tell_that_it_takes_long();
        }
        if self.is_unpolled(now) {
            self.cache.counters().circle();
            return true;
        }
        if !self.published.is_owner() {
            return false;
        }
        let circle = match find_cycle(&self.published.own(), self.call_id.key, |key: &_| self.claim_holder(key)) {
            CycleCheck::Clear if !self.published.hides() => {
                self.unseen = None;
                false
            }
            CycleCheck::Cycle => true,
            CycleCheck::Clear | CycleCheck::Theirs | CycleCheck::Hidden => {
                now.duration_since(*self.unseen.get_or_insert(now)) >= UNSEEN
            }
        };
        if circle {
            self.cache.counters().circle();
        }
        circle
    }

    /// Returns whether the leader is a future that its task holds without polling it. If all tasks are delayed, this waiter is
    /// not woken in time either, so the delay of the leader proves nothing.
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

    /// Logs which call the caller waits for, which process computes that call, and how to bound the wait.
    fn tell_that_it_takes_long(&self) {
        let (function, waited) = (self.function.name(), self.begun.elapsed().as_secs());
        let key: String = self.call_id.key.to_string().chars().take(KEY_DIGITS).collect();
        let here = self.flight.as_ref().filter(|flight| !flight.is_awaiting_claim());
        let by = match here {
            Some(flight) => computed_here(flight),
            None => match self.claim_holder(&self.call_id.key) {
                Some(claim_holder) => format!(
                    "process {} on {}, since {}",
                    claim_holder.process,
                    claim_holder.host,
                    humantime::format_rfc3339_seconds(claim_holder.since)
                ),
                None => "another process".to_owned(),
            },
        };
        crate::runtime::log::warn!(
            "`{function}` has waited {waited} s for its call {key}…, which is computed by {by}; if that may not end, bound the \
             wait: `#[fleche(wait_timeout = \"1h\")]`"
        );
    }

    /// Blocks this thread, which waits for the in-flight call or leads it and waits for its claim. `wait` blocks until the awaited
    /// result or claim is there, or until the given time.
    pub(super) fn keep<R>(
        &mut self,
        flight: &Arc<InFlightCall>,
        wait: impl Fn(Option<Instant>) -> Option<R>,
    ) -> WaitOutcome<R> {
        let _waits = WaiterThreadGuard::begin();
        self.unpolled_for = UNPOLLED_BY_OTHERS;
        // All stack frames of the caller are above this variable.
        let above = 0_u8;
        let stack = ptr::from_ref(&above).addr();
        let mut still = self.begun + FIRST_DEADLOCK_CHECK;
        let mut presumed = None;
        loop {
            if let Some(come) = wait(Some(self.next_look().map_or(still, |look| look.min(still)))) {
                return WaitOutcome::Ready(come);
            }
            if self.is_over() {
                return WaitOutcome::Proceed;
            }
            let now = Instant::now();
            if now >= still {
                match find_deadlock(flight, stack, |key| self.claim_holder(key)) {
                    DeadlockCheck::Yes => {
                        self.cache.counters().circle();
                        return WaitOutcome::Proceed;
                    }
                    DeadlockCheck::Perhaps(published) => presumed = presumed.or(Some(published)),
                    DeadlockCheck::No => presumed = None,
                }
                still = now + FIRST_DEADLOCK_CHECK / 2;
            }
        }
    }
}

/// Returns a description of the thread or task of this process that computes the call, with the time of its start.
fn computed_here(flight: &InFlightCall) -> String {
    let since = SystemTime::now().checked_sub(flight.begun().elapsed()).unwrap_or(SystemTime::UNIX_EPOCH);
    let whose = match flight.thread() {
        Some(thread) => format!("thread {thread}{} of this process", name_of(thread)),
        None if flight.polls().is_some() => "a task of this process".to_owned(),
        None => "this process".to_owned(),
    };
    format!("{whose} ({}), since {}", std::process::id(), humantime::format_rfc3339_seconds(since))
}

/// Returns the name of a thread in parentheses, or nothing if the system does not report it.
fn name_of(thread: i32) -> String {
    let name = std::fs::read_to_string(format!("/proc/self/task/{thread}/comm"));
    name.map_or_else(|_| String::new(), |name| format!(" (`{}`)", name.trim_end()))
}

/// The duration after which a wait is logged as a warning, in milliseconds.
static LONG_WAIT: AtomicU64 = AtomicU64::new(60_000);

fn long_wait() -> Duration {
    Duration::from_millis(LONG_WAIT.load(Relaxed))
}

/// Sets the time after which waits are logged as warnings, in place of one minute. For tests.
pub fn set_long_wait(time: Duration) {
    LONG_WAIT.store(time.as_millis().try_into().unwrap_or(u64::MAX), Relaxed);
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.cache.counters().waited(self.begun.elapsed());
    }
}
