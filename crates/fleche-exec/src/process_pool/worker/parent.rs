//! Notices the death of the pool's process. The channel may stay open after the death, if another process holds it
//! open.

use std::{os::fd::AsFd, process, thread, time::Duration};

use fleche_core::spi::{WaiterThreadGuard, thread_spawner};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::{Signal, kill, killpg},
    unistd::{Pid, getpgrp, getppid},
};
use rustix::process::{PidfdFlags, pidfd_open};

/// Starts a thread that ends this process when the pool's process has died.
pub(super) fn watch(pool: Pid) {
    // A parent in another PID namespace has the process id 0 here, and cannot be watched.
    let parent = getppid();
    if parent.as_raw() == 0 {
        return;
    }
    let died = rustix::process::Pid::from_raw(pool.as_raw()).map(|pool| pidfd_open(pool, PidfdFlags::empty()));
    // Checked after opening the descriptor, which may belong to a later process with the same id.
    if getppid() != pool {
        end()
    }
    let watch = move || {
        let _waits = WaiterThreadGuard::begin();
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
            end();
        }
    };
    if let Err(error) = thread_spawner::spawn("fleche-parent", watch) {
        fleche_core::spi::log::warn!(
            %error,
            "cannot start the thread that watches the pool's process; the worker ends when its channel does"
        );
    }
}

/// Ends this process at once, with the programs that its bodies have started. It is called when the pool is gone, or when
/// the channel to it ends or is unusable (`listen` in `worker.rs`), so nothing waits for results.
pub(super) fn end() -> ! {
    if getpgrp() == Pid::this() {
        let _ = killpg(Pid::this(), Signal::SIGKILL);
    }
    let _ = kill(Pid::this(), Signal::SIGKILL);
    process::abort()
}
