//! Claims: who computes a missing call, among all processes that share a directory.

#[cfg(all(target_os = "linux", target_pointer_width = "64", not(target_arch = "sparc64")))]
mod bytes;
mod per_key;
mod published;
mod threads;

use std::{
    io::{self, ErrorKind},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use fleche_core::{
    CallKey, Error, Result,
    claim::{Claim, Held, Owner},
};
use nix::errno::Errno;

#[cfg(all(target_os = "linux", target_pointer_width = "64", not(target_arch = "sparc64")))]
use self::bytes::ByteLocks;

/// What is called when a claim is there, or cannot be had.
type Then = Box<dyn FnOnce(Result<Arc<dyn Held>>) + Send>;

/// The claims in one directory.
#[derive(Default)]
pub(crate) struct Claims {
    bytes: ByteLocks,
    /// Whether the system has no locks of open file descriptions.
    per_key: AtomicBool,
    /// Whether it was said that there are no locks here.
    told: AtomicBool,
}

impl Claims {
    /// Tries to have the claim; where the file system cannot lock, claims reach this process only.
    pub(crate) fn claim(&self, root: &Path, key: &CallKey, shared: bool) -> Result<Claim> {
        let claim = self.by_available(|| self.bytes.claim(root, key, shared), || per_key::claim(root, key, shared));
        if let Err(error) = &claim
            && is_refusal(error)
        {
            if !self.told.swap(true, Ordering::Relaxed) {
                fleche_core::log::warn!(
                    "no claims in `{}`, so two processes may compute one call at the same time: cannot lock files there: {error}",
                    root.display()
                );
            }
            return Ok(Claim::WithinProcess);
        }
        claim.map_err(Error::io("lock a file in", root))
    }

    /// Who has the claim, as far as can be known.
    pub(crate) fn owner(&self, root: &Path, key: &CallKey, shared: bool) -> Result<Option<Owner>> {
        match self.by_available(|| self.bytes.owner(root, key, shared), || per_key::owner(root, key, shared)) {
            Err(error) if is_refusal(&error) => Ok(None),
            owner => owner.map_err(Error::io("look at locks in", root)),
        }
    }

    fn by_available<T>(
        &self,
        bytes: impl FnOnce() -> io::Result<T>,
        per_key: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        if self.per_key.load(Ordering::Relaxed) {
            return per_key();
        }
        match bytes() {
            // So says a system that does not know them.
            Err(error) if error.kind() == ErrorKind::InvalidInput => {
                self.per_key.store(true, Ordering::Relaxed);
                per_key()
            }
            done => done,
        }
    }
}

/// Whether the place cannot lock, or not for this user; other errors pass.
fn is_refusal(error: &io::Error) -> bool {
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

/// What stands for them where the system has none.
#[cfg(not(all(target_os = "linux", target_pointer_width = "64", not(target_arch = "sparc64"))))]
#[derive(Default)]
struct ByteLocks;

#[cfg(not(all(target_os = "linux", target_pointer_width = "64", not(target_arch = "sparc64"))))]
impl ByteLocks {
    fn claim(&self, _root: &Path, _key: &CallKey, _shared: bool) -> io::Result<Claim> {
        Err(ErrorKind::InvalidInput.into())
    }

    fn owner(&self, _root: &Path, _key: &CallKey, _shared: bool) -> io::Result<Option<Owner>> {
        Err(ErrorKind::InvalidInput.into())
    }
}
