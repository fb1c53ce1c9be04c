//! Detects guards that are dropped before any lookup, as in `let _ = cache.enter();`.

use std::{
    cell::Cell,
    panic::Location,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

thread_local! {
    /// Whether the active cache was used since a watched cache was last entered.
    static IS_USED: Cell<bool> = const { Cell::new(true) };
    /// Where the guard that was dropped last was created, if no lookup happened under it.
    static UNUSED: Cell<Option<&'static Location<'static>>> = const { Cell::new(None) };
}

/// Watches whether the active cache is used before a guard is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    place: &'static Location<'static>,
    /// Whether an outer cache was used.
    outer: bool,
}

impl Watch {
    /// Begins a watch. The caller's caller is where the cache is entered.
    #[track_caller]
    pub(super) fn begin() -> Self {
        UNUSED.set(None);
        Self { place: Location::caller(), outer: IS_USED.replace(false) }
    }

    /// Ends the watch when the guard is dropped.
    pub(super) fn end(self) {
        let is_used = IS_USED.get();
        UNUSED.set((!is_used).then_some(self.place));
        IS_USED.set(is_used || self.outer);
    }
}

/// Records that the active cache is used.
#[inline]
pub(super) fn used() {
    IS_USED.set(true);
}

/// Handles a call that finds no cache entered. Warns if a guard was dropped just before without a lookup under it. If
/// the program has set a default, that may be intended, and there is no warning.
pub(super) fn nothing_is_entered(default_is_set: impl FnOnce() -> bool) {
    static WARNED: AtomicBool = AtomicBool::new(false);
    if let Some(place) = UNUSED.take().filter(|_| !default_is_set())
        && !WARNED.swap(true, Relaxed)
    {
        crate::runtime::log::warn!(
            "the cache entered at {place} was left before any look-up, and the next call finds no cache entered; if it was \
             meant to be active, bind the guard: `let _active = cache.enter();`"
        );
    }
}
