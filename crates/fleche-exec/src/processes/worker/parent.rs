//! Notices the death of the pool's process. That need not end the channel, since another process may hold it open.

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
    // A process whose parent is in another namespace cannot see its process id.
    let parent = getppid();
    if parent.as_raw() == 0 {
        return;
    }
    let died = rustix::process::Pid::from_raw(pool.as_raw()).map(|pool| pidfd_open(pool, PidfdFlags::empty()));
    // Checked after opening the descriptor, which may belong to a later process with the same id.
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
            // Old kernels have no process descriptors.
            _ => {
                while getppid() == pool {
                    thread::sleep(Duration::from_secs(1));
                }
            }
        }
        // A body may have closed the descriptor.
        if getppid() != pool {
            super::end();
        }
    };
    if let Err(error) = starter::spawn("fleche-parent", watch) {
        fleche_core::log::warn!(%error, "no thread for a worker to wait for the end of its pool; its channel has to tell");
    }
}
