//! Forks child processes, to test that they touch nothing of their parent's.

#![allow(unsafe_code)] // A forked child inherits locks that other threads of its parent hold, which is what is tested.

use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::{
    sys::wait::{WaitStatus, waitpid},
    unistd::{ForkResult, alarm, fork},
};

/// The time in seconds after which a child is assumed to hang and is killed.
const HANGS: u32 = 60;

/// Forks this process, runs the closure in the child, and returns whether it returned true there.
///
/// The child then exits without running anything else, and is killed after a minute if it hangs. The closure should neither
/// print nor panic, since threads that the child does not have may hold the locks that this takes.
///
/// # Panics
/// Panics if the system cannot fork a process.
pub fn in_forked_child(run: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child ends with `_exit`, and the closure takes no locks except those that are tested.
    match unsafe { fork() }.expect("the system can fork a process") {
        ForkResult::Child => {
            alarm::set(HANGS);
            let succeeded = catch_unwind(AssertUnwindSafe(run)).unwrap_or(false);
            // SAFETY: the process ends here, so nothing of it is used afterwards.
            unsafe { nix::libc::_exit(i32::from(!succeeded)) }
        }
        ForkResult::Parent { child } => waitpid(child, None).expect("the child exists") == WaitStatus::Exited(child, 0),
    }
}
