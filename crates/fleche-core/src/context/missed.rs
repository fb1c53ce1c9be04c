//! A call that is known to be a miss, so that its next lookup on this thread does not ask the cache.

use std::cell::Cell;

use crate::call::CallKey;

thread_local! {
    static MISSED: Cell<Option<CallKey>> = const { Cell::new(None) };
}

/// Runs the closure. Within it, the first lookup of this call on this thread is a miss without asking the cache. For
/// executors whose submitting side has already asked.
pub fn with_known_miss<R>(key: CallKey, run: impl FnOnce() -> R) -> R {
    struct Until(Option<CallKey>);
    impl Drop for Until {
        fn drop(&mut self) {
            let _ = MISSED.try_with(|missed| missed.set(self.0));
        }
    }
    let _until = Until(MISSED.try_with(|missed| missed.replace(Some(key))).ok().flatten());
    run()
}

/// Returns whether this call is known to be a miss. After that, it no longer is.
pub(crate) fn is_known_miss(key: &CallKey) -> bool {
    let take = |missed: &Cell<Option<CallKey>>| {
        let known = missed.get().is_some_and(|missed| missed == *key);
        if known {
            missed.set(None);
        }
        known
    };
    MISSED.try_with(take).unwrap_or(false)
}
