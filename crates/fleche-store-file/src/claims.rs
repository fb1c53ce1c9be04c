//! Claims: the right to compute a missing call, among all processes that share a directory.

#[cfg(all(target_os = "linux", target_pointer_width = "64", not(target_arch = "sparc64")))]
mod byte_locks;
mod claim_info;
mod lock_files;
mod lock_waits;

use std::{
    io::{self, ErrorKind},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use fleche_core::{
    CallKey, Error, Result,
    claim::{Claim, ClaimHolder},
};
use nix::errno::Errno;

#[cfg(all(target_os = "linux", target_pointer_width = "64", not(target_arch = "sparc64")))]
use self::byte_locks::ByteLocks;

/// The claims of the store in one directory.
#[derive(Default)]
pub(crate) struct Claims {
    byte_locks: ByteLocks,
    /// Whether the system lacks open file description locks.
    needs_lock_files: AtomicBool,
    /// Whether the missing locks have been logged.
    logged: AtomicBool,
}

impl Claims {
    /// Requests the claim. If the file system cannot lock, claims apply within this process only.
    pub(crate) fn claim(&self, root: &Path, key: &CallKey, shared: bool) -> Result<Claim> {
        let claim = self
            .with_available_locks(|| self.byte_locks.claim(root, key, shared), || lock_files::claim(root, key, shared));
        if let Err(error) = &claim
            && is_unsupported(error)
        {
            if !self.logged.swap(true, Ordering::Relaxed) {
                fleche_core::spi::log::warn!(
                    "cannot lock files in `{}`, so two processes may compute one call at the same time: {error}",
                    root.display()
                );
            }
            return Ok(Claim::WithinProcess);
        }
        claim.map_err(Error::io("lock a file in", root))
    }

    /// Returns the claim holder, if it is known.
    pub(crate) fn claim_holder(&self, root: &Path, key: &CallKey, shared: bool) -> Result<Option<ClaimHolder>> {
        match self.with_available_locks(
            || self.byte_locks.claim_holder(root, key, shared),
            || lock_files::claim_holder(root, key, shared),
        ) {
            Err(error) if is_unsupported(&error) => Ok(None),
            owner => owner.map_err(Error::io("query locks in", root)),
        }
    }

    fn with_available_locks<T>(
        &self,
        byte_locks: impl FnOnce() -> io::Result<T>,
        lock_files: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        if self.needs_lock_files.load(Ordering::Relaxed) {
            return lock_files();
        }
        match byte_locks() {
            // A system without these locks reports this.
            Err(error) if error.kind() == ErrorKind::InvalidInput => {
                self.needs_lock_files.store(true, Ordering::Relaxed);
                lock_files()
            }
            done => done,
        }
    }
}

/// Returns whether this file system or user cannot lock at all, as opposed to a temporary failure.
fn is_unsupported(error: &io::Error) -> bool {
    let kinds = [
        ErrorKind::Unsupported,
        ErrorKind::InvalidInput,
        ErrorKind::PermissionDenied,
        ErrorKind::ReadOnlyFilesystem,
        ErrorKind::IsADirectory,
    ];
    let numbers = [Errno::ENOLCK, Errno::EBADF].map(|number| number as i32);
    kinds.contains(&error.kind()) || error.raw_os_error().is_some_and(|number| numbers.contains(&number))
}

/// Stands in for `ByteLocks` on systems without open file description locks.
#[cfg(not(all(target_os = "linux", target_pointer_width = "64", not(target_arch = "sparc64"))))]
#[derive(Default)]
struct ByteLocks;

#[cfg(not(all(target_os = "linux", target_pointer_width = "64", not(target_arch = "sparc64"))))]
impl ByteLocks {
    fn claim(&self, _root: &Path, _key: &CallKey, _shared: bool) -> io::Result<Claim> {
        Err(ErrorKind::InvalidInput.into())
    }

    fn claim_holder(&self, _root: &Path, _key: &CallKey, _shared: bool) -> io::Result<Option<ClaimHolder>> {
        Err(ErrorKind::InvalidInput.into())
    }
}
