//! Stalls: waits that are part of a circle although no flight tells.
//!
//! A body may wait for what threads that are not ours do for it, those of rayon's pool say, and such a thread may take up
//! another call meanwhile and wait for the flight of that very body. Nothing leads from the one to the other. What can be
//! seen is that the thread of a body is parked, that what is waited for cannot end before that body has, and that nothing
//! at all happens in the process. Then one of those who wait goes on.

use std::sync::{Arc, Mutex, TryLockError};

use super::{
    Owner,
    chain::{Sight, look},
    flight::Flight,
    graph::is_blocked_by,
    quiet::Quiet,
    table,
};
use crate::call::CallKey;

static QUIET: Mutex<Quiet> = Mutex::new(Quiet::new());

/// Whether who waits for this flight, or leads it and waits for its claim, should go on. Says so to one at a time.
pub(crate) fn is_stalled(awaited: &Arc<Flight>, owner: impl Fn(&CallKey) -> Option<Owner>) -> bool {
    // Who looks may have to ask a database. Others look another time.
    let mut quiet = match QUIET.try_lock() {
        Ok(quiet) => quiet,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return false,
    };
    let Some(parked) = quiet.parked() else { return false };
    let flights = table::all();
    let stuck: Vec<_> =
        flights.iter().filter(|flight| flight.thread().is_some_and(|thread| parked.contains(&thread))).collect();
    let is_stuck = |flight: &Arc<Flight>| stuck.iter().any(|stuck| is_blocked_by(flight, std::slice::from_ref(*stuck)));
    let stalled = is_stuck(awaited) || {
        // By way of other processes, as far as they tell.
        let seeks =
            |flight: &&Arc<Flight>| flight.seeks_claim() && is_blocked_by(awaited, std::slice::from_ref(*flight));
        flights.iter().filter(seeks).any(|sought| {
            let here = |flight: &&Arc<Flight>| flight.route().store == sought.route().store && is_stuck(flight);
            let own: Vec<_> = flights.iter().filter(here).map(|flight| flight.route().key).collect();
            !own.is_empty() && look(&own, sought.route().key, &owner) != Sight::Clear
        })
    };
    if stalled {
        // Who goes on makes something happen, and what comes of that is to be seen first.
        quiet.end();
    }
    stalled
}
