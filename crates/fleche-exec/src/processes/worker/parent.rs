//! The death of the pool's process, which need not end the channel: another process may hold that open.

use std::{os::fd::AsFd, thread, time::Duration};

use fleche_core::{claim::WaitsHere, starter};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    unistd::{Pid, getppid},
};
use rustix::process::{PidfdFlags, pidfd_open};

/// Ends this process when the pool's has died.
pub(super) fn watch(pool: Pid) {
    // A process whose parent is in another namespace is not told its number.
    let parent = getppid();
    if parent.as_raw() == 0 {
        return;
    }
    let died = rustix::process::Pid::from_raw(pool.as_raw()).map(|pool| pidfd_open(pool, PidfdFlags::empty()));
    // Asked after the descriptor was opened, which may have been that of a later process.
    if getppid() != pool {
        super::end()
    }
    let watch = move || {
        let _waits = WaitsHere::begin();
        match died {
            Some(Ok(died)) => {
                let mut fds = [PollFd::new(died.as_fd(), PollFlags::POLLIN)];
                while poll(&mut fds, PollTimeout::NONE) == Err(Errno::EINTR) {}
            }
            // An old system: looks now and then.
            _ => {
                while getppid() == pool {
                    thread::sleep(Duration::from_secs(1));
                }
            }
        }
        // A body may have closed what was waited for.
        if getppid() != pool {
            super::end();
        }
    };
    if let Err(error) = starter::spawn("fleche-parent", watch) {
        fleche_core::log::warn!(%error, "no thread for a worker to wait for the end of its pool; its channel has to tell");
    }
}
