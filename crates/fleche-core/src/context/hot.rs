//! The hot tier that answers calls on this thread, remembered until something is entered or left.

use super::stack::active_and_origin;

use std::cell::Cell;

use super::{default, is_rerun};
use crate::{cache::FIRST_ID, runtime::fork};

#[derive(Clone, Copy)]
struct Known {
    /// The id of the tier; ids below [`FIRST_ID`] mean that there is none.
    tier: u64,
    /// The generation of the default cache for which this is valid, or [`ANY`].
    default: u64,
}

/// The id that means that the tier has not been determined.
const UNKNOWN: u64 = 0;
/// The id that means that there is no tier.
const NONE: u64 = 1;
/// The generation that means any: an entered cache hides the default cache, so its generation does not matter.
const ANY: u64 = u64::MAX;

thread_local! {
    static KNOWN: Cell<Known> = const { Cell::new(Known { tier: UNKNOWN, default: ANY }) };
}

/// Returns the id of the hot tier that may answer a call, or `None` if it is off or calls are rerun.
#[inline]
pub(crate) fn hot_tier() -> Option<u64> {
    let known = KNOWN.get();
    let is_current = known.default == ANY || known.default == default::generation();
    let tier = if is_current && known.tier != UNKNOWN { known.tier } else { find() };
    (tier >= FIRST_ID).then_some(tier)
}

#[cold]
fn find() -> u64 {
    // What is remembered here must not survive a fork.
    fork::watch_and(forked);
    let generation = default::generation();
    let (cache, is_default) = active_and_origin();
    let tier = cache.hot().id().filter(|_| !is_rerun()).unwrap_or(NONE);
    KNOWN.set(Known { tier, default: if is_default { generation } else { ANY } });
    tier
}

/// Disables the tier in a forked child, on its only thread, so that nothing kept by the parent is served.
fn forked() {
    KNOWN.set(Known { tier: NONE, default: ANY });
}

/// Forgets the tier because something was entered or left.
pub(super) fn changed() {
    KNOWN.set(Known { tier: UNKNOWN, default: ANY });
}
