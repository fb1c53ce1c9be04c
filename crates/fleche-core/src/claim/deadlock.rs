//! Deadlocks: waits that are part of a cycle that the wait graph does not show.
//!
//! A body may wait for threads that fleche does not control, such as those of rayon's pool. Such a thread may start
//! another call and wait for the in-flight call of that same body. The wait graph has no edge from the body to the
//! thread. What can be observed is that the body's thread is parked, that the awaited call cannot end before the body
//! has, and that no thread of the process makes progress. Then one of the waiting threads proceeds.
//!
//! A body may wait for a lock that the caller took before the call. Only the caller can end that wait, so it counts as
//! a deadlock even if other threads sleep and wake, as progress tickers do. A pointer on the caller's stack shows that
//! it holds the lock, unless a resting thread has one too: then that thread may hold the lock, and the caller's pointer
//! may be a mere reference. A thread rests if it sleeps, waits with a timeout, or joins a thread that rests. It no
//! longer counts once it has woken and the lock is still taken, or after some minutes.

mod quiescence;
mod threads;

use std::sync::{Arc, Mutex, TryLockError};

use super::{
    ClaimHolder,
    in_flight::{self, InFlightCall, is_blocked_by},
    remote_cycles::{CycleCheck, PublishedWait, find_cycle},
};
use crate::call::CallKey;
use crate::runtime::internal_threads::ThreadId;
use quiescence::QuiescenceDetector;
use threads::stack_has_pointer_to;

static DETECTOR: Mutex<QuiescenceDetector> = Mutex::new(QuiescenceDetector::new());

/// The outcome of a check for a deadlock.
pub(crate) enum DeadlockCheck {
    /// No deadlock was found.
    No,
    /// The wait would not end. The thread that gets this answer proceeds.
    Yes,
    /// The wait may not end: the process that holds the claim that this one seeks may wait for bodies here without
    /// showing it. These bodies presumably wait for that claim. The published wait lets its holder see that.
    Perhaps(PublishedWait),
}

/// Returns whether the calling thread, which waits for this call or leads it and waits for its claim, should proceed.
/// Only one thread at a time gets that answer. The variables of the caller are on this thread's stack from address
/// `frames` upward.
pub(crate) fn find_deadlock(
    awaited: &Arc<InFlightCall>,
    frames: usize,
    claim_holder: impl Fn(&CallKey) -> Option<ClaimHolder>,
) -> DeadlockCheck {
    // The thread that holds the lock may be querying a database; this one checks again later.
    let mut detector = match DETECTOR.try_lock() {
        Ok(detector) => detector,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return DeadlockCheck::No,
    };
    let parked = detector.parked();
    let flights = in_flight::all();
    let Some(parked) = parked else {
        // A guard on the waiting thread's stack blocks the body that the thread waits for. No other thread can end that.
        let is_held_here = |(thread, lock): (ThreadId, usize)| {
            let runs_there = |flight: &&Arc<InFlightCall>| flight.thread() == Some(thread);
            let waits = |flight: &Arc<InFlightCall>| is_blocked_by(awaited, std::slice::from_ref(flight));
            // If the holder is a thread that neither runs nor rests, the caller computes the call itself, although the
            // wait would have ended. The result is the same.
            flights.iter().filter(runs_there).any(waits)
                && stack_has_pointer_to(lock, frames)
                && !detector.may_get_lock(thread)
        };
        if !detector.locks().into_iter().any(is_held_here) {
            return DeadlockCheck::No;
        }
        detector.end();
        return DeadlockCheck::Yes;
    };
    let is_parked = |thread: ThreadId| parked.contains(&thread) && !detector.may_get_lock(thread);
    let stuck: Vec<_> = flights.iter().filter(|flight| flight.thread().is_some_and(is_parked)).collect();
    let is_stuck =
        |flight: &Arc<InFlightCall>| stuck.iter().any(|stuck| is_blocked_by(flight, std::slice::from_ref(*stuck)));
    let mut found = if is_stuck(awaited) { DeadlockCheck::Yes } else { DeadlockCheck::No };
    if matches!(found, DeadlockCheck::No) {
        // Follows waits through other processes, as far as they are published.
        let seeks = |flight: &&Arc<InFlightCall>| {
            flight.is_awaiting_claim() && is_blocked_by(awaited, std::slice::from_ref(*flight))
        };
        for sought in flights.iter().filter(seeks) {
            let here =
                |flight: &&Arc<InFlightCall>| flight.call_id().store == sought.call_id().store && is_stuck(flight);
            let blocked: Vec<_> = flights.iter().filter(here).cloned().collect();
            let own: Vec<_> = blocked.iter().map(|flight| flight.call_id().key).collect();
            if own.is_empty() {
                continue;
            }
            if find_cycle(&own, sought.call_id().key, &claim_holder) != CycleCheck::Clear {
                found = DeadlockCheck::Yes;
                break;
            }
            found = DeadlockCheck::Perhaps(PublishedWait::presumed(sought.call_id(), &blocked));
        }
    }
    if matches!(found, DeadlockCheck::Yes) {
        // The thread that proceeds causes activity, so the next check starts over.
        detector.end();
    }
    found
}
