//! Chains of waits across processes: an owner publishes what it waits for, and who waits follows.

use std::{
    fmt,
    sync::{Arc, PoisonError},
    time::SystemTime,
};

use super::{
    Owner,
    flight::{Flight, Route},
    graph::with_parents,
    sync::is_child,
    table,
};
use crate::call::CallKey;

/// A wait that others can see, as long as it lives.
pub struct Published {
    route: Route,
    /// Those that cannot end before the wait has, and have claims of their stores.
    flights: Vec<Arc<Flight>>,
    /// Whether some that cannot end before have no claim that would show it.
    hides: bool,
}

impl Published {
    /// A wait for the call, from within these flights.
    pub fn new(route: Route, from: &[Arc<Flight>]) -> Self {
        let all = with_parents(from);
        let hides = all.iter().any(|flight| flight.is_claimless());
        let flights: Vec<_> = all.into_iter().filter(|flight| flight.publishes()).collect();
        Self::of(route, flights, hides)
    }

    /// A wait that these flights presumably end in, though nothing tells.
    pub(crate) fn presumed(route: Route, flights: &[Arc<Flight>]) -> Self {
        Self::of(route, flights.iter().filter(|flight| flight.publishes()).cloned().collect(), false)
    }

    fn of(route: Route, flights: Vec<Arc<Flight>>, hides: bool) -> Self {
        for flight in &flights {
            flight.publish(|awaits| awaits.push(route));
        }
        Self { route, flights, hides }
    }

    /// The claims of the same store that wait.
    pub(crate) fn own(&self) -> Vec<CallKey> {
        self.flights
            .iter()
            .map(|flight| flight.route)
            .filter(|own| own.store == self.route.store)
            .map(|own| own.key)
            .collect()
    }

    /// Whether others may wait for what waits: it has claims, or goes on without one.
    pub(crate) fn is_owner(&self) -> bool {
        self.hides || !self.flights.is_empty()
    }

    /// Whether others may wait for it without seeing that it waits.
    pub(crate) fn hides(&self) -> bool {
        self.hides
    }
}

impl fmt::Debug for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Published").field(&self.route).finish()
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        if is_child() {
            return;
        }
        for flight in &self.flights {
            flight.publish(|awaits| {
                if let Some(at) = awaits.iter().position(|known| *known == self.route) {
                    awaits.swap_remove(at);
                }
            });
        }
    }
}

impl Flight {
    fn publishes(&self) -> bool {
        self.held().as_ref().is_some_and(|held| held.publishes())
    }

    /// Changes what is waited for within the body, and publishes it.
    fn publish(&self, change: impl FnOnce(&mut Vec<Route>)) {
        // Held while it is published, so that what is published last is what was said last.
        let mut awaits = self.awaits.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut awaits);
        let held = self.held().clone();
        let Some(held) = held else { return };
        // What another store's claims wait for cannot be followed in this one.
        let here = awaits.iter().all(|route| route.store == self.route.store);
        let keys: Vec<_> = awaits.iter().map(|route| route.key).collect();
        held.awaits(here.then_some(&keys));
    }
}

/// Who computes the call in this process, for others that ask it: not told where the claim of its store is still waited for,
/// which another process has.
pub fn owner_here(route: Route) -> Option<Owner> {
    let flights = table::all();
    let own = flights.iter().find(|flight| flight.route == route && !flight.seeks_claim())?;
    let waits = |awaited: &&Arc<Flight>| {
        with_parents(&awaited.waited_for_from()).iter().any(|waiting| Arc::ptr_eq(waiting, own))
    };
    let mut awaits: Vec<_> = flights.iter().filter(waits).map(|awaited| awaited.route).collect();
    awaits.extend_from_slice(&own.awaits.lock().unwrap_or_else(PoisonError::into_inner));
    // What another store's claims wait for cannot be followed in this one.
    let here = awaits.iter().all(|awaited| awaited.store == route.store);
    let awaits = here.then(|| awaits.iter().map(|route| route.key).collect());
    let since = SystemTime::now().checked_sub(own.begun.elapsed()).unwrap_or(SystemTime::UNIX_EPOCH);
    Some(Owner { since, awaits, ..Owner::this_process() })
}

/// What somebody who has claims, and waits, sees of those he waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// Nobody waits for him.
    Clear,
    /// They wait for him in a circle, and he is the one to go on: his is the smallest key in it.
    Circle,
    /// They wait for him in a circle, and another is the one to go on.
    Theirs,
    /// It cannot be seen.
    Hidden,
}

/// So many owners are looked at.
const FAR: usize = 256;

/// Looks along the chains from the awaited call to these claims.
pub(crate) fn look(own: &[CallKey], awaited: CallKey, owner: impl Fn(&CallKey) -> Option<Owner>) -> Sight {
    let mut paths = vec![vec![awaited]];
    let (mut looked, mut sight) = (0, Sight::Clear);
    while let Some(path) = paths.pop() {
        looked += 1;
        let awaits = path.last().filter(|_| looked <= FAR).and_then(&owner).and_then(|owner| owner.awaits);
        let Some(awaits) = awaits else {
            sight = if sight == Sight::Clear { Sight::Hidden } else { sight };
            continue;
        };
        for next in awaits {
            if own.contains(&next) {
                if path.iter().all(|key| next < *key) {
                    return Sight::Circle;
                }
                sight = Sight::Theirs;
            } else if !path.contains(&next) {
                paths.push(path.iter().copied().chain([next]).collect());
            }
        }
        if looked > FAR {
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

    /// What is seen by the owner of `own` who waits for `awaited`, where others wait like this.
    fn sight(own: &[u8], awaited: u8, waits: &[(u8, &[u8])]) -> Sight {
        let waits: HashMap<_, _> = waits.iter().map(|(who, whom)| (key(*who), *whom)).collect();
        let own: Vec<_> = own.iter().copied().map(key).collect();
        look(&own, key(awaited), |asked| {
            let awaits = waits.get(asked)?.iter().copied().map(key).collect();
            Some(Owner { host: String::new(), process: 1, since: SystemTime::UNIX_EPOCH, awaits: Some(awaits) })
        })
    }

    #[test]
    fn who_waits_for_nobody_is_waited_for() {
        assert_eq!(sight(&[1], 2, &[(2, &[])]), Sight::Clear);
        assert_eq!(sight(&[1], 2, &[(2, &[3]), (3, &[])]), Sight::Clear);
    }

    #[test]
    fn of_a_circle_one_goes_on() {
        assert_eq!(sight(&[1], 2, &[(2, &[1])]), Sight::Circle);
        assert_eq!(sight(&[2], 1, &[(1, &[2])]), Sight::Theirs);
        assert_eq!(sight(&[2], 3, &[(3, &[4]), (4, &[2])]), Sight::Circle);
        assert_eq!(sight(&[3], 4, &[(4, &[2]), (2, &[3])]), Sight::Theirs);
        assert_eq!(sight(&[4], 2, &[(2, &[3]), (3, &[4])]), Sight::Theirs);
    }

    #[test]
    fn circles_through_one_of_many_waits_are_seen() {
        assert_eq!(sight(&[1, 9], 2, &[(2, &[5, 6]), (5, &[]), (6, &[1])]), Sight::Circle);
        assert_eq!(sight(&[3, 9], 2, &[(2, &[9])]), Sight::Theirs);
    }

    #[test]
    fn circles_of_others_do_not_hold_up_the_search() {
        assert_eq!(sight(&[1], 2, &[(2, &[3]), (3, &[2])]), Sight::Clear);
    }

    #[test]
    fn what_nobody_publishes_is_hidden() {
        assert_eq!(sight(&[1], 2, &[]), Sight::Hidden);
        assert_eq!(sight(&[1], 2, &[(2, &[3])]), Sight::Hidden);
    }

    #[test]
    fn a_search_without_end_ends() {
        let next = |asked: &CallKey| {
            let digest = Digest::of(asked.digest().as_bytes());
            let awaits = Some(vec![CallKey::from(digest)]);
            Some(Owner { host: String::new(), process: 1, since: SystemTime::UNIX_EPOCH, awaits })
        };
        assert_eq!(look(&[key(1)], key(2), next), Sight::Hidden);
    }
}
