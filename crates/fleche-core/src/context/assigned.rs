//! What an executor has set aside for the call that runs on this thread.

use std::{cell::RefCell, sync::Arc};

thread_local! {
    static GPUS: RefCell<Option<Arc<[u32]>>> = const { RefCell::new(None) };
}

/// The ids of the GPUs that are this call's alone while it runs; empty where it asked for none. Threads that the body
/// starts do not see them: tell them.
pub fn assigned_gpus() -> Arc<[u32]> {
    GPUS.with_borrow(|gpus| gpus.clone().unwrap_or_default())
}

/// Runs the closure with these as its [`assigned_gpus`]; for executors.
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
