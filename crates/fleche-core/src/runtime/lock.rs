//! Locks whose poisoning is ignored.

use std::sync::{LockResult, PoisonError};

/// The result of locking a [`Mutex`](std::sync::Mutex) or [`RwLock`](std::sync::RwLock), or of waiting on a
/// [`Condvar`](std::sync::Condvar).
pub trait LockResultExt {
    /// What the lock gives: a guard, and for waits with a timeout also whether they timed out.
    type Guard;

    /// Returns the guard even if a thread has panicked while it held the lock.
    ///
    /// Suits locks under which no panic can leave the value half modified.
    ///
    /// ```
    /// use fleche_core::spi::LockResultExt as _;
    ///
    /// let names = std::sync::Mutex::new(Vec::new());
    /// names.lock().ignore_poison().push("one");
    /// ```
    fn ignore_poison(self) -> Self::Guard;
}

impl<G> LockResultExt for LockResult<G> {
    type Guard = G;

    #[inline]
    fn ignore_poison(self) -> G {
        self.unwrap_or_else(PoisonError::into_inner)
    }
}
