//! Wait cycles across processes: each claim holder publishes the calls that it waits for, and waiting holders follow these waits.

use std::{fmt, sync::Arc, time::SystemTime};

use super::{
    ClaimHolder,
    in_flight::{self, CallId, InFlightCall, with_enclosing},
    sync::is_child,
};
use crate::{call::CallKey, runtime::lock::LockResultExt};

/// A wait that is published to other processes until this is dropped.
pub struct PublishedWait {
    call_id: CallId,
    /// The in-flight calls that cannot end before the wait does and whose claims publish what they wait for.
    flights: Vec<Arc<InFlightCall>>,
    /// Whether some of the blocked calls run without a claim, so that other processes cannot see their wait.
    hides: bool,
}

impl PublishedWait {
    /// Publishes a wait for the call from within these in-flight calls.
    pub fn new(call_id: CallId, from: &[Arc<InFlightCall>]) -> Self {
        let all = with_enclosing(from);
        let hides = all.iter().any(|flight| flight.is_claimless());
        let flights: Vec<_> = all.into_iter().filter(|flight| flight.publishes()).collect();
        Self::of(call_id, flights, hides)
    }

    /// Publishes that these in-flight calls presumably depend on the call, although no wait for it was recorded.
    pub(crate) fn presumed(call_id: CallId, flights: &[Arc<InFlightCall>]) -> Self {
        Self::of(call_id, flights.iter().filter(|flight| flight.publishes()).cloned().collect(), false)
    }

    fn of(call_id: CallId, flights: Vec<Arc<InFlightCall>>, hides: bool) -> Self {
        for flight in &flights {
            flight.publish(|awaits| awaits.push(call_id));
        }
        Self { call_id, flights, hides }
    }

    /// Returns the waiting calls that are in the same store as the awaited one.
    pub(crate) fn own(&self) -> Vec<CallKey> {
        self.flights
            .iter()
            .map(|flight| flight.call_id)
            .filter(|own| own.store == self.call_id.store)
            .map(|own| own.key)
            .collect()
    }

    /// Returns whether other processes may wait for the waiting calls: they hold claims, or run without one.
    pub(crate) fn is_owner(&self) -> bool {
        self.hides || !self.flights.is_empty()
    }

    /// Returns whether other processes may wait for the waiting calls without seeing this wait.
    pub(crate) fn hides(&self) -> bool {
        self.hides
    }
}

impl fmt::Debug for PublishedWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Published").field(&self.call_id).finish()
    }
}

impl Drop for PublishedWait {
    fn drop(&mut self) {
        if is_child() {
            return;
        }
        for flight in &self.flights {
            flight.publish(|awaits| {
                if let Some(at) = awaits.iter().position(|known| *known == self.call_id) {
                    awaits.swap_remove(at);
                }
            });
        }
    }
}

impl InFlightCall {
    fn publishes(&self) -> bool {
        self.held().as_ref().is_some_and(|held| held.publishes())
    }

    /// Changes the list of calls that the body waits for, and publishes it.
    fn publish(&self, change: impl FnOnce(&mut Vec<CallId>)) {
        // The lock is held while publishing, so the last change is also the last one published.
        let mut awaits = self.awaits.lock().ignore_poison();
        change(&mut awaits);
        let held = self.held().clone();
        let Some(held) = held else { return };
        // Claims of one store cannot show waits for calls of another store.
        let here = awaits.iter().all(|call_id| call_id.store == self.call_id.store);
        let keys: Vec<_> = awaits.iter().map(|call_id| call_id.key).collect();
        held.publish_waits(here.then_some(&keys));
    }
}

impl CallId {
    /// Returns the holder of this call in this process, for other processes that ask. Returns `None` while the leader
    /// itself still waits for the store's claim, which another process holds.
    pub fn claim_holder_here(self) -> Option<ClaimHolder> {
        let flights = in_flight::all();
        let own = flights.iter().find(|flight| flight.call_id == self && !flight.is_awaiting_claim())?;
        let waits = |awaited: &&Arc<InFlightCall>| {
            with_enclosing(&awaited.waited_for_from()).iter().any(|waiting| Arc::ptr_eq(waiting, own))
        };
        let mut awaits: Vec<_> = flights.iter().filter(waits).map(|awaited| awaited.call_id).collect();
        awaits.extend_from_slice(&own.awaits.lock().ignore_poison());
        // Claims of one store cannot show waits for calls of another store.
        let here = awaits.iter().all(|awaited| awaited.store == self.store);
        let awaits = here.then(|| awaits.iter().map(|call_id| call_id.key).collect());
        let since = SystemTime::now().checked_sub(own.begun.elapsed()).unwrap_or(SystemTime::UNIX_EPOCH);
        Some(ClaimHolder { since, waiting_on: awaits, ..ClaimHolder::this_process() })
    }
}

/// The result of a claim holder's check whether the calls that it waits for also wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CycleCheck {
    /// The calls do not wait for this holder.
    Clear,
    /// The calls wait for this holder in a cycle, and this holder proceeds because it has the smallest key in the cycle.
    Cycle,
    /// The calls wait for this holder in a cycle, and another holder proceeds.
    Theirs,
    /// Some of the waits are not visible.
    Hidden,
}

/// The maximum number of calls whose holders one search looks up.
const MAX_HOPS: usize = 256;

/// Follows published waits from the awaited call, and returns whether they lead to one of the calls in `own`.
pub(crate) fn find_cycle(
    own: &[CallKey],
    awaited: CallKey,
    owner: impl Fn(&CallKey) -> Option<ClaimHolder>,
) -> CycleCheck {
    let mut paths = vec![vec![awaited]];
    let (mut looked, mut sight) = (0, CycleCheck::Clear);
    while let Some(path) = paths.pop() {
        looked += 1;
        let awaits = path.last().filter(|_| looked <= MAX_HOPS).and_then(&owner).and_then(|owner| owner.waiting_on);
        let Some(awaits) = awaits else {
            sight = if sight == CycleCheck::Clear { CycleCheck::Hidden } else { sight };
            continue;
        };
        for next in awaits {
            if own.contains(&next) {
                if path.iter().all(|key| next < *key) {
                    return CycleCheck::Cycle;
                }
                sight = CycleCheck::Theirs;
            } else if !path.contains(&next) {
                paths.push(path.iter().copied().chain([next]).collect());
            }
        }
        if looked > MAX_HOPS {
            break;
        }
    }
    sight
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, time::SystemTime};

    use super::*;
    use crate::digest::Digest;

    fn key(number: u8) -> CallKey {
        CallKey::from(Digest::from_bytes([number; 32]))
    }

    /// Returns the outcome of the check by the holder of `own`, which waits for `awaited`. `waits` lists the other calls, each
    /// with the calls that it waits for.
    fn sight(own: &[u8], awaited: u8, waits: &[(u8, &[u8])]) -> CycleCheck {
        let waits: HashMap<_, _> = waits.iter().map(|(who, whom)| (key(*who), *whom)).collect();
        let own: Vec<_> = own.iter().copied().map(key).collect();
        find_cycle(&own, key(awaited), |asked| {
            let awaits = waits.get(asked)?.iter().copied().map(key).collect();
            Some(ClaimHolder {
                host: String::new(),
                process: 1,
                since: SystemTime::UNIX_EPOCH,
                waiting_on: Some(awaits),
            })
        })
    }

    #[test]
    fn search_is_clear_when_no_wait_leads_back() {
        assert_eq!(sight(&[1], 2, &[(2, &[])]), CycleCheck::Clear);
        assert_eq!(sight(&[1], 2, &[(2, &[3]), (3, &[])]), CycleCheck::Clear);
    }

    #[test]
    fn exactly_one_holder_of_a_cycle_proceeds() {
        assert_eq!(sight(&[1], 2, &[(2, &[1])]), CycleCheck::Cycle);
        assert_eq!(sight(&[2], 1, &[(1, &[2])]), CycleCheck::Theirs);
        assert_eq!(sight(&[2], 3, &[(3, &[4]), (4, &[2])]), CycleCheck::Cycle);
        assert_eq!(sight(&[3], 4, &[(4, &[2]), (2, &[3])]), CycleCheck::Theirs);
        assert_eq!(sight(&[4], 2, &[(2, &[3]), (3, &[4])]), CycleCheck::Theirs);
    }

    #[test]
    fn cycle_through_one_of_several_waits_is_found() {
        assert_eq!(sight(&[1, 9], 2, &[(2, &[5, 6]), (5, &[]), (6, &[1])]), CycleCheck::Cycle);
        assert_eq!(sight(&[3, 9], 2, &[(2, &[9])]), CycleCheck::Theirs);
    }

    #[test]
    fn search_ends_when_other_holders_form_a_cycle() {
        assert_eq!(sight(&[1], 2, &[(2, &[3]), (3, &[2])]), CycleCheck::Clear);
    }

    #[test]
    fn unpublished_wait_is_reported_as_hidden() {
        assert_eq!(sight(&[1], 2, &[]), CycleCheck::Hidden);
        assert_eq!(sight(&[1], 2, &[(2, &[3])]), CycleCheck::Hidden);
    }

    #[test]
    fn search_of_an_infinite_chain_ends() {
        let next = |asked: &CallKey| {
            let digest = Digest::hash(asked.digest().as_bytes());
            let awaits = Some(vec![CallKey::from(digest)]);
            Some(ClaimHolder { host: String::new(), process: 1, since: SystemTime::UNIX_EPOCH, waiting_on: awaits })
        };
        assert_eq!(find_cycle(&[key(1)], key(2), next), CycleCheck::Hidden);
    }
}
