//! Forked children that execute no other program: they leave everything of fleche to their parent.
//!
//! A child of `fork()` has one thread, copies of locks that the parent's other threads may have held, and the parent's
//! open files and connections. Whatever it wrote there would mix with the parent's writes, and a lock that was held at
//! the fork is never released. Therefore memoized calls in a child run their bodies without the cache, stores refuse
//! their operations, and nothing that the parent opened is closed in the child. A child that executes another program,
//! such as one of `std::process::Command`, is an ordinary process.

#![allow(unsafe_code)] // Registers a fork handler with the system.

use std::{
    env,
    mem::ManuallyDrop,
    ops::Deref,
    sync::{
        Once, OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
};

use crate::error::{Error, Result};

/// The number of forks since the last `exec` among this process's ancestors.
static GENERATION: AtomicU32 = AtomicU32::new(0);
/// Whether `FLECHE_LOG` suppresses warnings. Read in the parent, because reading the environment takes a lock.
static IS_SILENT: AtomicBool = AtomicBool::new(false);
/// The function that the forking thread runs in the child.
static HOOK: OnceLock<fn()> = OnceLock::new();

/// Returns whether this process was forked, without executing another program, from one that had used fleche.
#[inline]
pub fn is_child() -> bool {
    GENERATION.load(Relaxed) > 0
}

/// Registers the fork handler, so that children of later forks recognize that they are children. Must be called before
/// anything that they must not use is created. Repeated calls do nothing.
pub(crate) fn watch() {
    #[cfg(unix)]
    {
        static WATCHED: Once = Once::new();
        WATCHED.call_once(|| {
            IS_SILENT.store(matches!(env::var("FLECHE_LOG").as_deref(), Ok("off" | "error")), Relaxed);
            // SAFETY: the handler is a static function. In the child it only adds to an atomic and runs the hook, which
            // writes to a thread-local variable without a destructor; neither allocates or locks. If the system has no
            // memory for the handler, forks go unnoticed.
            let _ = unsafe { nix::libc::pthread_atfork(None, None, Some(begin_child)) };
        });
    }
}

/// Like [`watch`], and registers a hook that the forking thread runs in the child. Only the first hook is used.
pub(crate) fn watch_and(hook: fn()) {
    let _ = HOOK.set(hook);
    watch();
}

#[cfg(unix)]
unsafe extern "C" fn begin_child() {
    GENERATION.fetch_add(1, Relaxed);
    if let Some(hook) = HOOK.get() {
        hook();
    }
}

/// Prints on standard error, once per child, that its calls run without the cache. Writes directly, because threads
/// that the child does not have may hold the locks of the log.
pub(crate) fn warn_once() {
    static WARNED: AtomicBool = AtomicBool::new(false);
    #[cfg(unix)]
    if !WARNED.swap(true, Relaxed) && !IS_SILENT.load(Relaxed) {
        const LINE: &[u8] =
            b"fleche: warning: this process was forked without `exec`: its memoized calls run without the cache \
            (start other programs, or workers of a `ProcessPool`)\n";
        // SAFETY: the pointer and the length are those of `LINE`. A closed standard error is ignored, since there is
        // nowhere else to report to.
        let _ = unsafe { nix::libc::write(nix::libc::STDERR_FILENO, LINE.as_ptr().cast(), LINE.len()) };
    }
}

/// A value that belongs to the process that created it. A forked child never drops it, because dropping would close,
/// flush or unlock what the parent uses.
#[derive(Debug)]
pub struct ProcessLocal<T> {
    value: ManuallyDrop<T>,
    generation: u32,
}

impl<T> ProcessLocal<T> {
    /// Creates a value that belongs to this process.
    pub fn new(value: T) -> Self {
        watch();
        Self { value: ManuallyDrop::new(value), generation: GENERATION.load(Relaxed) }
    }

    /// Returns whether the value was created in a process from which this one was forked.
    #[inline]
    pub fn is_inherited(this: &Self) -> bool {
        this.generation != GENERATION.load(Relaxed)
    }
}

/// A clone belongs to the same process as the original.
impl<T: Clone> Clone for ProcessLocal<T> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), generation: self.generation }
    }
}

impl<T: Default> Default for ProcessLocal<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> Deref for ProcessLocal<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Drop for ProcessLocal<T> {
    fn drop(&mut self) {
        if !Self::is_inherited(self) {
            // SAFETY: the value is dropped only here, once, and not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.value) };
        }
    }
}

/// Fails in a process that was [forked](crate::spi::fork) without executing another program. Stores begin each operation with
/// this check, so that a child touches nothing that it shares with its parent.
///
/// # Errors
/// Fails with [`Error::Forked`], which names `what`.
#[inline]
pub fn ensure_not_forked<W: Into<String>>(what: impl FnOnce() -> W) -> Result<()> {
    #[cold]
    #[inline(never)]
    fn forked<W: Into<String>>(what: impl FnOnce() -> W) -> Error {
        Error::Forked { what: what().into() }
    }
    if is_child() { Err(forked(what)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn value_is_dropped_in_the_process_that_created_it() {
        let value = Arc::new(());
        drop(ProcessLocal::new(value.clone()));
        assert_eq!(Arc::strong_count(&value), 1);
    }
}
