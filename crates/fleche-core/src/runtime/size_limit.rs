//! The limit on the size of files (`ulimit -f`): writing past it is an error and does not end the process.

#![allow(unsafe_code)] // Looks at the handler of a signal, and sets one.

/// Keeps `SIGXFSZ` from ending the process. A write past the limit then fails with
/// [`FileTooLarge`](std::io::ErrorKind::FileTooLarge), on every thread, including those of storage engines.
///
/// [`OpenStores`](crate::store::OpenStores) calls this. A store that writes files and keeps no such table calls it when it is
/// opened. Repeated calls do nothing. If the program handles or ignores the signal, that stays so. Programs that this one
/// executes get the system's default.
pub fn catch_signal() {
    #[cfg(unix)]
    {
        static CAUGHT: std::sync::Once = std::sync::Once::new();
        CAUGHT.call_once(signal::catch);
    }
}

#[cfg(unix)]
mod signal {
    use std::{mem::MaybeUninit, ptr};

    use nix::{
        libc,
        sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction},
    };

    /// Sets a handler that does nothing, unless the program already handles or ignores the signal. Ignoring it would also work
    /// here, but programs that this one executes would then ignore it too.
    pub(super) fn catch() {
        let mut present = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: without a new action the call only writes the present one, for which there is room.
        if unsafe { libc::sigaction(libc::SIGXFSZ, ptr::null(), present.as_mut_ptr()) } != 0 {
            return;
        }
        // SAFETY: zeros are a valid `sigaction`, and the call has put another in their place.
        if unsafe { present.assume_init() }.sa_sigaction != libc::SIG_DFL {
            return;
        }
        let action =
            SigAction::new(SigHandler::Handler(ignore), SaFlags::SA_RESTART | SaFlags::SA_ONSTACK, SigSet::empty());
        // SAFETY: the handler stays for the life of the process and does nothing, which is safe at any moment.
        if let Err(error) = unsafe { sigaction(Signal::SIGXFSZ, &action) } {
            tracing::debug!(%error, "cannot catch SIGXFSZ: a write past `ulimit -f` ends the process");
        }
    }

    extern "C" fn ignore(_: libc::c_int) {}
}
