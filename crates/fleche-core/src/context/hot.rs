//! Whose hot tier answers calls on this thread now: found out once, until something is entered or left.

use std::cell::Cell;

use super::{active_and_origin, default, is_rerun};
use crate::{cache::FIRST_ID, fork};

#[derive(Clone, Copy)]
struct Known {
    /// The number of the tier; of a lower number there is none.
    tier: u64,
    /// As long as the default cache is of this generation, or [`ANY`].
    default: u64,
}

/// Nothing is known.
const UNKNOWN: u64 = 0;
/// Nobody's.
const NONE: u64 = 1;
/// What was entered hides the default cache.
const ANY: u64 = u64::MAX;

thread_local! {
    static KNOWN: Cell<Known> = const { Cell::new(Known { tier: UNKNOWN, default: ANY }) };
}

/// The number of the hot tier that may answer a call; `None` where it is off, and where calls run again.
#[inline]
pub(crate) fn hot_tier() -> Option<u64> {
    let known = KNOWN.get();
    let is_current = known.default == ANY || known.default == default::generation();
    let tier = if is_current && known.tier != UNKNOWN { known.tier } else { find() };
    (tier >= FIRST_ID).then_some(tier)
}

#[cold]
fn find() -> u64 {
    // What is found here must not outlive a fork.
    fork::watch_and(forked);
    let generation = default::generation();
    let (cache, is_default) = active_and_origin();
    let tier = cache.hot().id().filter(|_| !is_rerun()).unwrap_or(NONE);
    KNOWN.set(Known { tier, default: if is_default { generation } else { ANY } });
    tier
}

/// Called in a forked child, on its one thread: nothing that was kept is served there.
fn forked() {
    KNOWN.set(Known { tier: NONE, default: ANY });
}

/// Something is entered or left.
pub(super) fn changed() {
    KNOWN.set(Known { tier: UNKNOWN, default: ANY });
}
