//! Gives up the rights of root, for tests of what other users may not do.

use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};

/// The user and the group `nobody`.
const NOBODY: u32 = 65_534;

/// Has this process run as the user `nobody` from now on, if it runs as root, who may do everything. A test calls this in a
/// process of its own.
///
/// # Panics
/// Panics where root may not become another user.
pub fn give_up_root() {
    if Uid::effective().is_root() {
        setgroups(&[]).expect("root gives up its groups");
        setgid(Gid::from_raw(NOBODY)).expect("root gives up its group");
        setuid(Uid::from_raw(NOBODY)).expect("root becomes another user");
    }
}
