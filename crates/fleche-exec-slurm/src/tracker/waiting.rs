//! The calls that are to be submitted, grouped by their resources.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use fleche_core::{Digest, Resources};

use crate::directory::Place;

/// The maximum number of elements of an array.
pub(super) const ELEMENTS: usize = 1000;

/// The time to wait for further calls, after the last one and after the first one.
const LAST: Duration = Duration::from_millis(50);
const FIRST: Duration = Duration::from_secs(1);

/// A call that is to be submitted.
pub(super) struct Waiting<C> {
    pub(super) key: Digest,
    pub(super) callers: Vec<C>,
    pub(super) resources: Arc<Resources>,
    /// The encoded call; `None` if it is read from the batch of the previous element.
    pub(super) call: Option<Bytes>,
    /// The element that ran the call before, and whether it may have started unnoticed.
    pub(super) previous: Option<(Place, bool)>,
    pub(super) retries: u32,
    pub(super) submissions: u32,
}

/// The calls that are to be submitted, by resources.
pub(super) struct WaitingCalls<C> {
    pub(super) groups: HashMap<Arc<Resources>, Group<C>>,
}

pub(super) struct Group<C> {
    pub(super) calls: VecDeque<Waiting<C>>,
    pub(super) first: Duration,
    pub(super) last: Duration,
}

impl<C> Default for WaitingCalls<C> {
    fn default() -> Self {
        Self { groups: HashMap::new() }
    }
}

impl<C> WaitingCalls<C> {
    pub(super) fn add(&mut self, call: Waiting<C>, now: Duration) {
        let new = || Group { calls: VecDeque::new(), first: now, last: now };
        let group = self.groups.entry(call.resources.clone()).or_insert_with(new);
        group.last = now;
        group.calls.push_back(call);
    }
}

impl<C> Group<C> {
    /// Returns when the calls are to be submitted: soon after the last one, so that they share an array.
    pub(super) fn ready(&self) -> Duration {
        if self.calls.len() >= ELEMENTS { Duration::ZERO } else { (self.last + LAST).min(self.first + FIRST) }
    }
}
