//! Gives up root privileges, for tests of missing permissions.

use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};

/// The ids of the user and the group `nobody`.
const NOBODY: u32 = 65_534;

/// Switches this process from root, which ignores file permissions, to the user `nobody`. Does nothing if it is not root.
///
/// The switch is permanent, so a test must call this in a process of its own.
///
/// # Panics
/// Panics if the process must not change its user.
pub fn give_up_root() {
    if Uid::effective().is_root() {
        setgroups(&[]).expect("root can give up its groups");
        setgid(Gid::from_raw(NOBODY)).expect("root can change its group");
        setuid(Uid::from_raw(NOBODY)).expect("root can change its user");
    }
}
