//! The table of the in-flight calls of this process, in shards to reduce lock contention.

use std::collections::HashMap;

use crossbeam_utils::CachePadded;
use foldhash::fast::RandomState;

use super::{
    in_flight::{CallId, Flight},
    sync::{Acquire, Arc, AtomicU64, Global, Mutex, MutexGuard, PARTS, PoisonError, Release},
};

#[derive(Default)]
pub(super) struct Shard {
    flights: Mutex<ShardState>,
    /// The number of calls of this shard that have ended.
    ended: AtomicU64,
}

#[derive(Default)]
pub(super) struct ShardState {
    // Keys are digests, so they cannot be chosen to collide.
    pub(super) by_id: HashMap<CallId, Arc<Flight>, RandomState>,
    /// The calls that ended last.
    last: [Option<CallId>; LAST],
}

/// The number of ended calls that a shard remembers.
const LAST: usize = 16;

impl Shard {
    pub(super) fn lock(&self) -> MutexGuard<'_, ShardState> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes the call from the table.
    #[allow(clippy::cast_possible_truncation)] // Only the low bits matter.
    pub(super) fn end(&self, flights: &mut ShardState, route: CallId) {
        flights.by_id.remove(&route);
        flights.last[self.ended.fetch_add(1, Release) as usize % LAST] = Some(route);
    }

    /// Returns how many calls have ended. A reader that sees a call's end in this count also sees what the call
    /// recorded.
    pub(super) fn ended(&self) -> u64 {
        self.ended.load(Acquire)
    }

    /// Returns whether this call may have ended since the shard's count was `before`.
    pub(super) fn may_have_ended(&self, route: CallId, before: u64) -> bool {
        let more = self.ended() - before;
        more > 0 && (more > LAST as u64 || self.lock().last.contains(&Some(route)))
    }
}

/// The table of this process. It is built shard by shard on the heap, because the whole table may not fit on the small
/// stack of the first thread that misses.
static TABLE: Global<Box<[CachePadded<Shard>]>> = Global::new(|| (0..PARTS).map(|_| CachePadded::default()).collect());

/// Returns all in-flight calls.
pub(super) fn all() -> Vec<Arc<Flight>> {
    TABLE.get().iter().flat_map(|part| part.lock().by_id.values().cloned().collect::<Vec<_>>()).collect()
}

/// Returns the shard of this call, chosen by a byte of its key, which is a digest.
pub(super) fn part(route: CallId) -> &'static Shard {
    &TABLE.get()[usize::from(route.key.digest().as_bytes()[0]) % PARTS]
}
