//! `Engine`: operations of sled that may block forever after a failed write: flushing and closing.

use std::{
    collections::HashSet,
    io,
    mem::ManuallyDrop,
    sync::{LazyLock, Mutex, MutexGuard, mpsc},
    time::{Duration, Instant},
};

use fleche_core::store::kit::{LockResultExt as _, Place, spawn};
use sled::{Db, Tree};

/// sled's handles to an open directory. Dropping the last one writes everything to disk and closes the directory.
pub(crate) struct Engine {
    pub(crate) values: Tree,
    pub(crate) ages: Tree,
    pub(crate) records: Tree,
    pub(crate) calls: Tree,
    pub(crate) damaged: Tree,
    pub(crate) sled: Db,
}

/// The interval at which a waiting thread checks whether sled has failed.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);
/// The time that a thread waits for sled after a write has failed.
const MAX_WAIT_AFTER_FAILURE: Duration = Duration::from_millis(500);
/// The time that a thread waits for sled if no failure is known. sled does not report every failure.
const MAX_WAIT: Duration = Duration::from_mins(1);

/// The directories that sled could not close, and keeps locked until the process ends.
static UNCLOSED: LazyLock<Mutex<HashSet<Place>>> = LazyLock::new(Mutex::default);

fn unclosed() -> MutexGuard<'static, HashSet<Place>> {
    UNCLOSED.lock().ignore_poison()
}

/// Returns whether this process still has the directory open because sled could not close it.
pub(crate) fn is_unclosed(place: &Place) -> bool {
    unclosed().contains(place)
}

impl Engine {
    /// Closes the directory on another thread, and returns whether it is closed. If sled blocks, its handles stay with that
    /// thread until the process ends.
    pub(crate) fn close(self, place: &Place, has_failed: impl Fn() -> bool) -> bool {
        unclosed().insert(place.clone());
        // If the thread cannot be started, the handles leak: this thread might block if it dropped them.
        let (engine, closed_place) = (ManuallyDrop::new(self), place.clone());
        let close = move || {
            drop(ManuallyDrop::into_inner(engine));
            unclosed().remove(&closed_place);
        };
        matches!(on_another_thread(close, has_failed), Ok(Some(())))
    }

    /// Returns sled's result of writing everything to disk, or `None` if sled blocks.
    pub(crate) fn flush(&self, has_failed: impl Fn() -> bool) -> io::Result<Option<sled::Result<()>>> {
        let sled = ManuallyDrop::new(self.sled.clone());
        let flush = move || {
            let flushed = sled.flush().map(drop);
            // Dropped before the result is sent, so that this thread never closes the directory.
            drop(ManuallyDrop::into_inner(sled));
            flushed
        };
        on_another_thread(flush, has_failed)
    }
}

/// Runs the operation on another thread and waits for its result. Returns `None` if it panics, or seems to block forever.
fn on_another_thread<T: Send + 'static>(
    run: impl FnOnce() -> T + Send + 'static,
    has_failed: impl Fn() -> bool,
) -> io::Result<Option<T>> {
    let (sender, result) = mpsc::channel();
    spawn("fleche-sled", move || sender.send(run()))?;
    let started = Instant::now();
    loop {
        match result.recv_timeout(CHECK_INTERVAL) {
            Ok(done) => return Ok(Some(done)),
            Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(None),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let longest = if has_failed() { MAX_WAIT_AFTER_FAILURE } else { MAX_WAIT };
                if started.elapsed() > longest {
                    return Ok(None);
                }
            }
        }
    }
}
