//! Stalls: waits that are part of a circle although no flight tells.
//!
//! A body may wait for what threads that are not ours do for it, those of rayon's pool say, and such a thread may take up
//! another call meanwhile and wait for the flight of that very body. Nothing leads from the one to the other. What can be
//! seen is that the thread of a body is parked, that what is waited for cannot end before that body has, and that nothing
//! at all happens in the process. Then one of those who wait goes on.
//!
//! A body may wait for a lock that the caller took before the call. Only the caller can end that wait, so it counts as a stall
//! even if other threads sleep and wake, as progress tickers do. A pointer on the caller's stack shows that it holds the lock.

use std::sync::{Arc, Mutex, TryLockError};

use super::{
    Owner,
    chain::{Published, Sight, look},
    flight::Flight,
    graph::is_blocked_by,
    quiet::{Quiet, ThreadId, stack_has_pointer_to},
    table,
};
use crate::call::CallKey;

static QUIET: Mutex<Quiet> = Mutex::new(Quiet::new());

/// What there is to see of a wait.
pub(crate) enum Stall {
    /// Nothing.
    No,
    /// It would not end. Who is told goes on.
    Yes,
    /// It may not: somebody else, who has the claim that it seeks, may wait for bodies here as unseen. They presumably wait
    /// for him; published, he sees that.
    Perhaps(Published),
}

/// Looks whether who waits for this flight, or leads it and waits for its claim, should go on. Says so to one at a time.
/// The variables of the caller are on this thread's stack from address `frames` upward.
pub(crate) fn look_for_stall(awaited: &Arc<Flight>, frames: usize, owner: impl Fn(&CallKey) -> Option<Owner>) -> Stall {
    // Who looks may have to ask a database. Others look another time.
    let mut quiet = match QUIET.try_lock() {
        Ok(quiet) => quiet,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return Stall::No,
    };
    let parked = quiet.parked();
    let flights = table::all();
    let Some(parked) = parked else {
        // A guard on the waiting thread's stack blocks the body that the thread waits for. No other thread can end that.
        let is_held_here = |(thread, lock): (ThreadId, usize)| {
            let runs_there = |flight: &&Arc<Flight>| flight.thread() == Some(thread);
            let waits = |flight: &Arc<Flight>| is_blocked_by(awaited, std::slice::from_ref(flight));
            flights.iter().filter(runs_there).any(waits) && stack_has_pointer_to(lock, frames)
        };
        if !quiet.locks().into_iter().any(is_held_here) {
            return Stall::No;
        }
        quiet.end();
        return Stall::Yes;
    };
    let stuck: Vec<_> =
        flights.iter().filter(|flight| flight.thread().is_some_and(|thread| parked.contains(&thread))).collect();
    let is_stuck = |flight: &Arc<Flight>| stuck.iter().any(|stuck| is_blocked_by(flight, std::slice::from_ref(*stuck)));
    let mut stall = if is_stuck(awaited) { Stall::Yes } else { Stall::No };
    if matches!(stall, Stall::No) {
        // By way of other processes, as far as they tell.
        let seeks =
            |flight: &&Arc<Flight>| flight.seeks_claim() && is_blocked_by(awaited, std::slice::from_ref(*flight));
        for sought in flights.iter().filter(seeks) {
            let here = |flight: &&Arc<Flight>| flight.route().store == sought.route().store && is_stuck(flight);
            let blocked: Vec<_> = flights.iter().filter(here).cloned().collect();
            let own: Vec<_> = blocked.iter().map(|flight| flight.route().key).collect();
            if own.is_empty() {
                continue;
            }
            if look(&own, sought.route().key, &owner) != Sight::Clear {
                stall = Stall::Yes;
                break;
            }
            stall = Stall::Perhaps(Published::presumed(sought.route(), &blocked));
        }
    }
    if matches!(stall, Stall::Yes) {
        // Who goes on makes something happen, and what comes of that is to be seen first.
        quiet.end();
    }
    stall
}
