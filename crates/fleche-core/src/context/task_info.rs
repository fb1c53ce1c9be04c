//! Information that an executor passes to the call on this thread: its GPUs, and that the call is a known miss.

use std::{
    cell::{Cell, RefCell},
    sync::Arc,
};

use crate::call::CallKey;

thread_local! {
    static GPUS: RefCell<Option<Arc<[u32]>>> = const { RefCell::new(None) };
}

/// Returns the ids of the GPUs that this call has exclusively while it runs; empty if it asked for none. Threads that
/// the body starts do not see them; pass the ids on.
pub fn assigned_gpus() -> Arc<[u32]> {
    GPUS.with_borrow(|gpus| gpus.clone().unwrap_or_default())
}

/// Runs the closure with these GPUs as its [`assigned_gpus`]. For executors.
pub fn with_assigned_gpus<R>(gpus: Arc<[u32]>, run: impl FnOnce() -> R) -> R {
    struct Restored(Option<Arc<[u32]>>);
    impl Drop for Restored {
        fn drop(&mut self) {
            GPUS.set(self.0.take());
        }
    }
    let _restored = Restored(GPUS.replace(Some(gpus)));
    run()
}

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

/// Returns whether this call is known to be a miss. Only the first query returns `true`.
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
