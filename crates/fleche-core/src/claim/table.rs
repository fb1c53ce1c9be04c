//! The flights of this process, in parts, so that calls seldom wait for one another's locks.

use std::collections::HashMap;

use crossbeam_utils::CachePadded;
use foldhash::fast::RandomState;

use super::{
    flight::{Flight, Route},
    sync::{Acquire, Arc, AtomicU64, Global, Mutex, MutexGuard, PARTS, PoisonError, Release},
};

#[derive(Default)]
pub(super) struct Part {
    flights: Mutex<Flying>,
    /// How many flights of this part have ended.
    ended: AtomicU64,
}

#[derive(Default)]
pub(super) struct Flying {
    // Keys are digests, which nobody picks so that they collide.
    pub(super) flying: HashMap<Route, Arc<Flight>, RandomState>,
    /// The last that have ended.
    last: [Option<Route>; LAST],
}

/// So many flights are remembered when they have ended.
const LAST: usize = 16;

impl Part {
    pub(super) fn lock(&self) -> MutexGuard<'_, Flying> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the flight off the table.
    #[allow(clippy::cast_possible_truncation)] // Its last digits are asked for.
    pub(super) fn end(&self, flights: &mut Flying, route: Route) {
        flights.flying.remove(&route);
        flights.last[self.ended.fetch_add(1, Release) as usize % LAST] = Some(route);
    }

    /// Whoever has seen a flight end here sees what it has recorded.
    pub(super) fn ended(&self) -> u64 {
        self.ended.load(Acquire)
    }

    /// Whether a flight of this route may have ended since so many of the part had.
    pub(super) fn may_have_ended(&self, route: Route, before: u64) -> bool {
        let more = self.ended() - before;
        more > 0 && (more > LAST as u64 || self.lock().last.contains(&Some(route)))
    }
}

/// Made part by part on the heap: all of it on the stack of the first thread that misses would not fit on a small one.
static TABLE: Global<Box<[CachePadded<Part>]>> = Global::new(|| (0..PARTS).map(|_| CachePadded::default()).collect());

/// All flights.
pub(super) fn all() -> Vec<Arc<Flight>> {
    TABLE.get().iter().flat_map(|part| part.lock().flying.values().cloned().collect::<Vec<_>>()).collect()
}

/// The part that has this call, by a byte of its key, which is a digest.
pub(super) fn part(route: Route) -> &'static Part {
    &TABLE.get()[usize::from(route.key.digest().as_bytes()[0]) % PARTS]
}
