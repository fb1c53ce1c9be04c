//! The wait graph of this process, which prevents calls from waiting for themselves.
//!
//! A body cannot end before the calls that run within it, nor before the calls that it waits for. The former are
//! recorded in [`Flight::parents`], the latter in the awaited calls.

use std::collections::HashSet;

use super::{
    in_flight::Flight,
    sync::{Arc, Global, Mutex, PoisonError},
};

/// The lock that is held while a wait is checked and registered. Without it, the checks of two waits that start at once
/// would not see each other's wait.
static BEGINNING: Global<Mutex<()>> = Global::new(|| Mutex::new(()));

/// Registers a wait for `flight` from within `from`. Returns `false` if `flight` itself waits for one of those,
/// directly or through other calls.
pub(super) fn begin(flight: &Arc<Flight>, from: &[Arc<Flight>]) -> bool {
    // A caller outside any body blocks no other call.
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

/// Returns whether the call cannot end before one of `those` has.
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

/// Returns these in-flight calls and all that they run within, each once.
pub(crate) fn with_enclosing(flights: &[Arc<Flight>]) -> Vec<Arc<Flight>> {
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
