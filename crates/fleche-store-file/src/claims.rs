//! Claims: the right to compute a missing call, among all processes that share a directory.

#[cfg(all(target_os = "linux", target_pointer_width = "64", not(target_arch = "sparc64")))]
mod byte_locks;
mod claim_info;
mod lease_files;
mod lock_files;
mod lock_reach;
mod lock_waits;

use std::{
    io::{self, ErrorKind},
    path::Path,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use fleche_core::{
    CallKey, Error, Result,
    claim::{Claim, ClaimHolder, Leases},
    spi::log::warn,
};
use nix::errno::Errno;

#[cfg(all(target_os = "linux", target_pointer_width = "64", not(target_arch = "sparc64")))]
use self::byte_locks::ByteLocks;
use self::{lease_files::LeaseFiles, lock_reach::LockReach};
use crate::claim_method::ClaimMethod;

/// The claims of the store in one directory.
#[derive(Default)]
pub(crate) struct Claims {
    byte_locks: ByteLocks,
    /// Whether the system lacks open file description locks.
    needs_lock_files: AtomicBool,
    /// The leases of handles without and with the setting `shared`.
    leases: [OnceLock<Leases<LeaseFiles>>; 2],
    /// Set once the mount table has been read.
    reach_known: OnceLock<()>,
    /// Whether [`ClaimMethod::Auto`] stands for leases.
    prefers_leases: AtomicBool,
    /// Whether missing claims have been logged.
    logged: AtomicBool,
}

impl Claims {
    /// Requests the claim. If the file system supports no method of claiming, claims apply within this process only.
    pub(crate) fn claim(&self, root: &Path, key: &CallKey, shared: bool, method: ClaimMethod) -> Result<Claim> {
        let by_locks = || {
            let claim = self.with_available_locks(
                || self.byte_locks.claim(root, key, shared),
                || lock_files::claim(root, key, shared),
            );
            claim.map_err(Error::io("lock a file in", root))
        };
        let by_leases = || self.leases(root, shared).claim(key);
        match self.by_method(root, method, by_locks, by_leases) {
            Err(error) if is_unsupported(&error) => {
                if !self.logged.swap(true, Ordering::Relaxed) {
                    warn!(
                        error = %error.report(),
                        "cannot claim calls in `{}`, so two processes may compute one call at the same time",
                        root.display()
                    );
                }
                Ok(Claim::WithinProcess)
            }
            claim => claim,
        }
    }

    /// Returns the claim holder, if it is known.
    pub(crate) fn claim_holder(
        &self,
        root: &Path,
        key: &CallKey,
        shared: bool,
        method: ClaimMethod,
    ) -> Result<Option<ClaimHolder>> {
        let by_locks = || {
            let holder = self.with_available_locks(
                || self.byte_locks.claim_holder(root, key, shared),
                || lock_files::claim_holder(root, key, shared),
            );
            holder.map_err(Error::io("query locks in", root))
        };
        let by_leases = || self.leases(root, shared).table().claim_holder(key);
        match self.by_method(root, method, by_locks, by_leases) {
            Err(error) if is_unsupported(&error) => Ok(None),
            holder => holder,
        }
    }

    /// Runs the operation by this method, or if the method is chosen automatically and fails, by the other one.
    fn by_method<T>(
        &self,
        root: &Path,
        method: ClaimMethod,
        by_locks: impl FnOnce() -> Result<T>,
        by_leases: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        match method {
            ClaimMethod::Locks => by_locks(),
            ClaimMethod::Leases => by_leases(),
            ClaimMethod::Auto if self.prefers_leases(root) => match by_leases() {
                // A file system without hard links may still have locks.
                Err(error) if is_unsupported(&error) => by_locks(),
                done => done,
            },
            ClaimMethod::Auto => match by_locks() {
                Err(error) if lacks_locks(&error) => {
                    if !self.prefers_leases.swap(true, Ordering::Relaxed) {
                        warn_of_leases(root, "do not work", &error.report().to_string());
                    }
                    by_leases()
                }
                done => done,
            },
        }
    }

    fn prefers_leases(&self, root: &Path) -> bool {
        self.reach_known.get_or_init(|| {
            let reach = LockReach::of(root);
            match &reach {
                LockReach::AllHosts => {}
                LockReach::ThisHost(why) => warn_of_leases(root, "reach this host only", why),
                LockReach::Unknown(why) => warn_of_leases(root, "may reach this host only", why),
            }
            // Another host has found that locks do not reach it.
            if reach != LockReach::AllHosts || lease_files::are_in_use(root) {
                self.prefers_leases.store(true, Ordering::Relaxed);
            }
        });
        self.prefers_leases.load(Ordering::Relaxed)
    }

    fn leases(&self, root: &Path, shared: bool) -> &Leases<LeaseFiles> {
        self.leases[usize::from(shared)].get_or_init(|| Leases::new(LeaseFiles::new(root, shared), lease_files::TTL))
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

fn warn_of_leases(root: &Path, locks: &str, why: &str) {
    warn!(
        "file locks in `{}` {locks} ({why}), so calls are claimed by lease files: the claim of a process that is killed on \
         another host is free after {} s. Set `claims = \"leases\"` in the store's configuration on all hosts that use the \
         directory, or `claims = \"locks\"` if only this host uses it",
        root.display(),
        lease_files::TTL.as_secs()
    );
}

/// Returns whether this file system or user cannot lock or lease at all, as opposed to a temporary failure.
fn is_unsupported(error: &Error) -> bool {
    let kinds = [
        ErrorKind::Unsupported,
        ErrorKind::InvalidInput,
        ErrorKind::PermissionDenied,
        ErrorKind::ReadOnlyFilesystem,
        ErrorKind::IsADirectory,
        ErrorKind::NotADirectory,
    ];
    let numbers = [Errno::ENOLCK, Errno::EBADF].map(|number| number as i32);
    matches!(error, Error::Io { source, .. }
        if kinds.contains(&source.kind()) || source.raw_os_error().is_some_and(|number| numbers.contains(&number)))
}

/// Returns whether the file system cannot lock files at all, for any user.
fn lacks_locks(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. }
        if source.kind() == ErrorKind::Unsupported || source.raw_os_error() == Some(Errno::ENOLCK as i32))
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
