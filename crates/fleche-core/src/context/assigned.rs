//! The GPUs that an executor has assigned to the call that runs on this thread.

use std::{cell::RefCell, sync::Arc};

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
