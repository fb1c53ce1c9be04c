//! Processes that were forked without executing another program: they leave everything of fleche to their parent.
//!
//! A child of `fork()` has one thread, copies of locks that the parent's other threads may have held, and the parent's open
//! files and connections. Whatever it wrote there would mix with what the parent writes, and a lock that was held at the
//! fork is held for good. So memoized calls in a child run their bodies without the cache, stores refuse their operations,
//! and nothing that the parent opened is closed there. A child that executes another program, as those of
//! `std::process::Command` do, is a process like any other.

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

/// How many forks lie between this process and the one that executed the program.
static GENERATION: AtomicU32 = AtomicU32::new(0);
/// Whether `FLECHE_LOG` lets no warning through; read in the parent, since reading the environment takes a lock.
static IS_SILENT: AtomicBool = AtomicBool::new(false);
/// What the thread that forks does in the child.
static HOOK: OnceLock<fn()> = OnceLock::new();

/// Returns whether this process was forked, without executing another program, from one that had used fleche.
#[inline]
pub fn is_child() -> bool {
    GENERATION.load(Relaxed) > 0
}

/// Registers the fork handler, so that children of later forks know that they are children. Must be called before anything
/// exists that they must not use. Repeated calls do nothing.
pub fn watch() {
    #[cfg(unix)]
    {
        static WATCHED: Once = Once::new();
        WATCHED.call_once(|| {
            IS_SILENT.store(matches!(env::var("FLECHE_LOG").as_deref(), Ok("off" | "error")), Relaxed);
            // SAFETY: the handler is a function that stays. It runs in the child, where it only adds to an atomic and
            // runs the hook, which writes to a thread-local variable without a destructor: neither allocates or locks.
            // Where the system has no memory for the handler, forks are not noticed, as before.
            let _ = unsafe { nix::libc::pthread_atfork(None, None, Some(begin_child)) };
        });
    }
}

/// Like [`watch`], and has the forking thread run the hook in the child. Only the first hook counts.
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

/// Prints on standard error, once in a child, that its calls run without the cache. Writes directly, since threads that the
/// child does not have may hold the locks of the log.
pub(crate) fn warn_once() {
    static WARNED: AtomicBool = AtomicBool::new(false);
    #[cfg(unix)]
    if !WARNED.swap(true, Relaxed) && !IS_SILENT.load(Relaxed) {
        const LINE: &[u8] =
            b"fleche: warning: this process was forked without `exec`: its memoized calls run without the cache \
            (start other programs, or workers of a `ProcessPool`)\n";
        // SAFETY: the pointer and the length are those of `LINE`. If standard error is closed, nothing can be reported.
        let _ = unsafe { nix::libc::write(nix::libc::STDERR_FILENO, LINE.as_ptr().cast(), LINE.len()) };
    }
}

/// A value that belongs to the process that made it. A forked child never drops what its parent made: the drop would close,
/// write out or unlock what the parent uses.
#[derive(Debug)]
pub struct ProcessLocal<T> {
    value: ManuallyDrop<T>,
    generation: u32,
}

impl<T> ProcessLocal<T> {
    /// A value of this process.
    pub fn new(value: T) -> Self {
        watch();
        Self { value: ManuallyDrop::new(value), generation: GENERATION.load(Relaxed) }
    }

    /// Returns whether the value was made in a process from which this one was forked.
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
            // SAFETY: it is dropped here only, once, and nothing looks at it afterwards.
            unsafe { ManuallyDrop::drop(&mut self.value) };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_value_is_dropped_in_the_process_that_made_it() {
        let value = Arc::new(());
        drop(ProcessLocal::new(value.clone()));
        assert_eq!(Arc::strong_count(&value), 1);
    }
}
