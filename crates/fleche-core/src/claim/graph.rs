//! Who waits for whom within this process, so that nobody waits for himself.
//!
//! A body cannot end before what runs within it has, and before what it waits for has. The first stands in
//! [`Flight::parents`], the second in the flights that are waited for.

use std::collections::HashSet;

use super::{
    flight::Flight,
    sync::{Arc, Global, Mutex, PoisonError},
};

/// Held while a wait is judged and begun: two that begin at once would each see no circle.
static BEGINNING: Global<Mutex<()>> = Global::new(|| Mutex::new(()));

/// Begins a wait for the flight from within these; unless it waits for one of them itself, over any number of others.
pub(super) fn begin(flight: &Arc<Flight>, from: &[Arc<Flight>]) -> bool {
    // What runs in no body keeps nobody waiting.
    if from.is_empty() {
        return true;
    }
    let _beginning = BEGINNING.get().lock().unwrap_or_else(PoisonError::into_inner);
    if is_blocked_by(flight, from) {
        return false;
    }
    flight.add_from(from);
    true
}

/// Whether the flight cannot end before one of these.
pub(super) fn is_blocked_by(flight: &Arc<Flight>, those: &[Arc<Flight>]) -> bool {
    let mut seen = HashSet::new();
    let mut left: Vec<Arc<Flight>> = those.to_vec();
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

/// These flights and all that they are part of, each once.
pub(crate) fn with_parents(flights: &[Arc<Flight>]) -> Vec<Arc<Flight>> {
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
