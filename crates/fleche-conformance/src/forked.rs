//! Forks child processes, to test that they touch nothing of their parent's, and gives up root privileges.

#![allow(unsafe_code)] // A forked child inherits locks that other threads of its parent hold, which is what is tested.

use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::{
    sys::wait::{WaitStatus, waitpid},
    unistd::{ForkResult, Gid, Uid, alarm, fork, setgid, setgroups, setuid},
};

/// The time in seconds after which a child is assumed to hang and is killed.
const HANGS: u32 = 60;

/// Forks this process, runs the closure in the child, and returns whether the closure returned true.
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

/// The ids of the user and the group `nobody`.
const NOBODY: u32 = 65_534;

/// Switches this process from root, which ignores file permissions, to the user `nobody`. Does nothing if it is not root.
///
/// The switch is permanent, so a test must call this in a process of its own.
///
/// # Panics
/// Panics if the process is not permitted to change its user.
pub fn give_up_root() {
    if Uid::effective().is_root() {
        setgroups(&[]).expect("root can give up its groups");
        setgid(Gid::from_raw(NOBODY)).expect("root can change its group");
        setuid(Uid::from_raw(NOBODY)).expect("root can change its user");
    }
}
