//! Forks children, to test what they must not touch.

#![allow(unsafe_code)] // Forking leaves a child with the locks of its parent's other threads, which is what is tested.

use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::{
    sys::wait::{WaitStatus, waitpid},
    unistd::{ForkResult, alarm, fork},
};

/// A child that takes longer hangs, and is ended; in seconds.
const HANGS: u32 = 60;

/// Forks this process and runs the closure in the child, which then ends without running anything else. Returns whether
/// the closure returned true there; a child that hangs is ended after a minute.
///
/// The child should neither print nor panic: threads that it does not have may hold the locks that this takes.
///
/// # Panics
/// Where the system forks no process.
pub fn in_forked_child(run: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child ends by `_exit`, and what it runs before takes no locks but those that are tested.
    match unsafe { fork() }.expect("the system forks") {
        ForkResult::Child => {
            alarm::set(HANGS);
            let succeeded = catch_unwind(AssertUnwindSafe(run)).unwrap_or(false);
            // SAFETY: nothing of this process is used afterwards.
            unsafe { nix::libc::_exit(i32::from(!succeeded)) }
        }
        ForkResult::Parent { child } => waitpid(child, None).expect("it is a child") == WaitStatus::Exited(child, 0),
    }
}
