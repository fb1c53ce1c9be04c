//! The in-flight calls of this process: their table, in shards to reduce lock contention, and the graph of their waits.

use std::{
    any::Any,
    collections::{HashMap, HashSet},
    fmt, mem,
    ops::Deref,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicI32, Ordering::Relaxed},
    },
    task::Waker,
    time::Instant,
};

use crossbeam_utils::CachePadded;
use foldhash::fast::RandomState;

use super::{
    ClaimGuard,
    poll_tracking::Polls,
    sync::{Acquire, Arc, AtomicU64, Condvar, Global, LockResultExt, Mutex, MutexGuard, Release, SHARDS},
};
use crate::call::CallKey;

/// A call in one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallId {
    /// The store's [identity](crate::CallStore::identity).
    pub store: usize,
    /// The call.
    pub key: CallKey,
}

/// The result that a leader shares with its waiters, in the type that is recorded.
pub(crate) type SharedResult = Arc<dyn Any + Send + Sync>;

/// A call that is being computed or is about to be.
pub struct InFlightCall {
    pub(super) call_id: CallId,
    /// The in-flight calls within whose bodies this one was requested. They cannot end before this one.
    pub(super) parents: InFlightCalls,
    /// The time at which the leader registered the call.
    pub(super) begun: Instant,
    /// The store's claim, if the store grants claims.
    held: Mutex<Option<Arc<dyn ClaimGuard>>>,
    /// Whether the leader computes without the claim, which another process holds.
    pub(super) claimless: AtomicBool,
    /// Whether the leader waits for the claim.
    pub(super) awaits_claim: AtomicBool,
    /// The system's id of the thread that runs the body; 0 if the body does not run on a single thread.
    thread: AtomicI32,
    /// The record of the leader's polls, if the leader is a future.
    polls: OnceLock<std::sync::Arc<Polls>>,
    /// The calls that are awaited within the body.
    pub(super) awaits: Mutex<Vec<CallId>>,
    state: Mutex<State>,
    pub(super) changed: Condvar,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) end: Option<CallEnd>,
    /// The number of waiters.
    pub(super) waiting: usize,
    pub(super) wakers: Vec<Waker>,
    /// The in-flight calls whose bodies wait for this one.
    pub(super) from: Vec<Arc<InFlightCall>>,
}

/// A list of in-flight calls, usually empty. Small, and cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct InFlightCalls(Option<Arc<Vec<Arc<InFlightCall>>>>);

impl Deref for InFlightCalls {
    type Target = [Arc<InFlightCall>];

    fn deref(&self) -> &[Arc<InFlightCall>] {
        self.0.as_ref().map_or(&[], |flights| flights)
    }
}

impl FromIterator<Arc<InFlightCall>> for InFlightCalls {
    fn from_iter<I: IntoIterator<Item = Arc<InFlightCall>>>(flights: I) -> Self {
        let flights: Vec<_> = flights.into_iter().collect();
        // An empty list needs no allocation.
        Self((!flights.is_empty()).then(|| Arc::new(flights)))
    }
}

/// The outcome of an in-flight call.
#[derive(Clone)]
pub enum CallEnd {
    /// The leader computed this result.
    Completed(SharedResult),
    /// The leader shared no result: it failed, was dropped, or could not share its value. The next caller leads.
    Abandoned,
}

impl InFlightCall {
    pub(super) fn new(call_id: CallId, parents: InFlightCalls) -> Arc<Self> {
        Arc::new(Self {
            call_id,
            parents,
            begun: Instant::now(),
            held: Mutex::default(),
            claimless: AtomicBool::new(false),
            awaits_claim: AtomicBool::new(false),
            thread: AtomicI32::new(0),
            polls: OnceLock::new(),
            awaits: Mutex::default(),
            state: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// Returns the call and its store.
    pub fn call_id(&self) -> CallId {
        self.call_id
    }

    pub(super) fn is_claimless(&self) -> bool {
        self.claimless.load(Relaxed)
    }

    /// Returns whether the leader waits for the store's claim.
    pub fn is_awaiting_claim(&self) -> bool {
        self.awaits_claim.load(Relaxed)
    }

    /// Returns the system's id of the thread that runs the body, or `None` while no thread does.
    pub fn thread(&self) -> Option<i32> {
        Some(self.thread.load(Relaxed)).filter(|thread| *thread != 0)
    }

    /// Sets the thread that runs the body from now on; 0 for none.
    pub fn runs_on(&self, thread: i32) {
        self.thread.store(thread, Relaxed);
    }

    /// Returns when the leader registered the call.
    pub fn begun(&self) -> Instant {
        self.begun
    }

    /// Returns the record of the leader's polls, or `None` if the leader is not a future.
    pub fn polls(&self) -> Option<&std::sync::Arc<Polls>> {
        self.polls.get()
    }

    /// Returns the record of the leader's polls, and creates it if needed. For a leader that is a future.
    pub fn polls_of_future(&self) -> &std::sync::Arc<Polls> {
        self.polls.get_or_init(std::sync::Arc::default)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().ignore_poison()
    }

    /// Returns the in-flight calls whose bodies wait for this one.
    pub(super) fn waited_for_from(&self) -> Vec<Arc<Self>> {
        self.lock().from.clone()
    }

    pub(super) fn held(&self) -> MutexGuard<'_, Option<Arc<dyn ClaimGuard>>> {
        self.held.lock().ignore_poison()
    }

    /// Releases the store's claim. Must happen before the next caller in this process can ask for it.
    pub(super) fn release_claim(&self) {
        let held = self.held().take();
        drop(held);
    }

    /// Ends the call and removes it from the table.
    pub(super) fn leave(&self, end: CallEnd) {
        self.release_claim();
        let shard = shard_of(self.call_id);
        shard.end(&mut shard.lock(), self.call_id);
        let mut state = self.lock();
        let (wakers, waiting) = (mem::take(&mut state.wakers), state.waiting);
        state.end = (waiting > 0).then_some(end);
        drop(state);
        if waiting > 0 {
            self.changed.notify_all();
        }
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl InFlightCall {
    /// Records that these in-flight calls wait for this one.
    pub(super) fn add_from(&self, from: &[Arc<Self>]) {
        self.lock().from.extend_from_slice(from);
    }
}

impl fmt::Debug for InFlightCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InFlightCall").field("call_id", &self.call_id).finish_non_exhaustive()
    }
}

#[derive(Default)]
pub(super) struct Shard {
    flights: Mutex<ShardState>,
    /// The number of calls of this shard that have ended.
    ended: AtomicU64,
}

#[derive(Default)]
pub(super) struct ShardState {
    // Keys are digests, so they cannot be chosen to collide.
    pub(super) by_id: HashMap<CallId, Arc<InFlightCall>, RandomState>,
    /// The calls that ended last.
    last: [Option<CallId>; LAST],
}

/// The number of ended calls that a shard remembers.
const LAST: usize = 16;

impl Shard {
    pub(super) fn lock(&self) -> MutexGuard<'_, ShardState> {
        self.flights.lock().ignore_poison()
    }

    /// Removes the call from the table.
    #[allow(clippy::cast_possible_truncation)] // Only the low bits matter.
    pub(super) fn end(&self, flights: &mut ShardState, call_id: CallId) {
        flights.by_id.remove(&call_id);
        flights.last[self.ended.fetch_add(1, Release) as usize % LAST] = Some(call_id);
    }

    /// Returns the number of calls that have ended. A reader that sees a call's end in this count also sees what the call
    /// recorded.
    pub(super) fn ended(&self) -> u64 {
        self.ended.load(Acquire)
    }

    /// Returns whether this call may have ended since the shard's count was `before`.
    pub(super) fn may_have_ended(&self, call_id: CallId, before: u64) -> bool {
        let more = self.ended() - before;
        more > 0 && (more > LAST as u64 || self.lock().last.contains(&Some(call_id)))
    }
}

/// The table of this process. It is not a `DashMap`, because the fields of a shard change together under its lock, and a model
/// checker replaces the lock in tests. It is built shard by shard on the heap, because the whole table may not fit on the small
/// stack of the first thread that misses.
static TABLE: Global<Box<[CachePadded<Shard>]>> = Global::new(|| (0..SHARDS).map(|_| CachePadded::default()).collect());

/// Returns all in-flight calls.
pub(super) fn all() -> Vec<Arc<InFlightCall>> {
    TABLE.get().iter().flat_map(|shard| shard.lock().by_id.values().cloned().collect::<Vec<_>>()).collect()
}

/// Returns the shard of this call, chosen by a byte of its key, which is a digest.
pub(super) fn shard_of(call_id: CallId) -> &'static Shard {
    &TABLE.get()[usize::from(call_id.key.digest().as_bytes()[0]) % SHARDS]
}

// The wait graph, which prevents calls from waiting for themselves. A body cannot end before the calls that run within
// it, nor before the calls that it waits for. The former are recorded in `InFlightCall::parents`, the latter in the
// awaited calls.

/// The lock that is held while a wait is checked and registered. Without it, the checks of two waits that start at once
/// would not see each other's wait.
static BEGINNING: Global<Mutex<()>> = Global::new(|| Mutex::new(()));

/// Registers a wait for `flight` from within `from`. Returns `false` if `flight` itself waits for one of those,
/// directly or through other calls.
pub(super) fn begin_wait(flight: &Arc<InFlightCall>, from: &[Arc<InFlightCall>]) -> bool {
    // A caller outside any body blocks no other call.
    if from.is_empty() {
        return true;
    }
    let _beginning = BEGINNING.get().lock().ignore_poison();
    if is_blocked_by(flight, from) {
        return false;
    }
    flight.add_from(from);
    true
}

/// Returns whether the call cannot end before one of `those` has.
pub(super) fn is_blocked_by(flight: &Arc<InFlightCall>, those: &[Arc<InFlightCall>]) -> bool {
    let mut seen = HashSet::new();
    let mut left: Vec<Arc<InFlightCall>> = those.to_vec();
    while let Some(next) = left.pop() {
        if Arc::ptr_eq(&next, flight) {
            return true;
        }
        if seen.insert(Arc::as_ptr(&next)) {
            left.extend_from_slice(&next.parents);
            left.extend(next.waited_for_from());
        }
    }
    false
}

/// Returns these in-flight calls and all that they run within, each once.
pub(crate) fn with_enclosing(flights: &[Arc<InFlightCall>]) -> Vec<Arc<InFlightCall>> {
    let mut seen = HashSet::new();
    let mut left = flights.to_vec();
    let mut all = Vec::new();
    while let Some(next) = left.pop() {
        if seen.insert(Arc::as_ptr(&next)) {
            left.extend_from_slice(&next.parents);
            all.push(next);
        }
    }
    all
}
