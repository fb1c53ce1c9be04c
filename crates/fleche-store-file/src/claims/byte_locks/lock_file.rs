//! `LockFile`: the file whose bytes are locked, and its content.

use std::{
    fs::File,
    io::{self, ErrorKind},
    ops::RangeInclusive,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
};

use fleche_core::spi::{process_id::Process, written_file};
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, fcntl},
    libc,
};

use crate::claims::claim_info::{ClaimInfo, SIZE};

/// The number of slots for published holders. Several keys may share one.
const SLOTS: u64 = 4096;

/// The number of slots that are used by processes that may not write at the usual offset, because of a file size limit
/// (`ulimit -f`).
const FIRST_SLOTS: u64 = 16;

/// The lock file, open once for all claims of this process. Its locks belong to the *open file description*: they end
/// with the process for any reason, and nothing else that the process does with the file affects them. They do not
/// exclude threads of the same process.
pub(super) struct LockFile {
    pub(super) path: PathBuf,
    pub(super) process: Process,
    file: File,
}

impl LockFile {
    /// Opens the file, creating it if `create` is set. Returns `None` if there is none.
    pub(super) fn open(path: &Path, create: bool, shared: bool) -> io::Result<Option<Self>> {
        let file = match written_file::open(path, create, shared) {
            Err(error) if error.kind() == ErrorKind::NotFound && !create => return Ok(None),
            file => file?,
        };
        Ok(Some(Self { path: path.to_owned(), process: Process::this(), file }))
    }

    /// Returns whether the file has been removed, so that no other process can open it.
    pub(super) fn is_removed(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
    }

    /// Returns whether this is a forked child process: it shares the open file description of its parent, and only the
    /// parent may release the locks.
    pub(super) fn is_inherited(&self) -> bool {
        std::process::id() != self.process.id
    }

    /// Locks the byte if it is free. Returns whether this process has it locked now, even if it had locked it before.
    pub(super) fn try_lock(&self, byte: i64) -> io::Result<bool> {
        let lock = range(libc::F_WRLCK, &(byte..=byte));
        match uninterrupted(|| fcntl(&self.file, FcntlArg::F_OFD_SETLK(&lock))) {
            Ok(_) => Ok(true),
            Err(Errno::EAGAIN) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Blocks until the byte is locked by this process.
    pub(super) fn lock(&self, byte: i64) -> io::Result<()> {
        let lock = range(libc::F_WRLCK, &(byte..=byte));
        uninterrupted(|| fcntl(&self.file, FcntlArg::F_OFD_SETLKW(&lock)))?;
        Ok(())
    }

    pub(super) fn unlock(&self, byte: i64) {
        let lock = range(libc::F_UNLCK, &(byte..=byte));
        if let Err(error) = uninterrupted(|| fcntl(&self.file, FcntlArg::F_OFD_SETLK(&lock))) {
            fleche_core::spi::log::warn!(
                "cannot release a claim in `{}`: {error}; it lasts until this process ends",
                self.path.display()
            );
        }
    }

    /// Returns the last of these bytes that another process has locked, if there is one.
    pub(super) fn last_locked(&self, mut bytes: RangeInclusive<i64>) -> io::Result<Option<i64>> {
        let mut last = None;
        while !bytes.is_empty() {
            // The system returns any one of the conflicting locks.
            let mut found = range(libc::F_WRLCK, &bytes);
            uninterrupted(|| fcntl(&self.file, FcntlArg::F_OFD_GETLK(&mut found)))?;
            if found.l_type == short(libc::F_UNLCK) {
                break;
            }
            let end = if found.l_len == 0 { i64::MAX } else { found.l_start.saturating_add(found.l_len - 1) };
            let end = end.clamp(*bytes.start(), *bytes.end());
            last = Some(end);
            bytes = end.saturating_add(1)..=*bytes.end();
        }
        Ok(last)
    }

    /// Publishes the claim holder. The claim holds even if this fails.
    pub(super) fn publish(&self, slot: u64, published: &ClaimInfo) {
        let bytes = published.to_bytes();
        let [usual, first] = offsets(slot);
        let fits = |at: &u64| written_file::check_limit(at + bytes.len() as u64).is_ok();
        let at = Some(usual).filter(fits).unwrap_or(first);
        let written =
            written_file::check_limit(at + bytes.len() as u64).and_then(|()| self.file.write_all_at(&bytes, at));
        if let Err(error) = written {
            tracing::debug!("cannot write the claim holder to `{}`: {error}", self.path.display());
        }
    }

    /// Reads both offsets of this slot.
    pub(super) fn published(&self, slot: u64) -> impl Iterator<Item = ClaimInfo> {
        offsets(slot).into_iter().filter_map(|at| {
            let mut bytes = [0; SIZE];
            let length = self.file.read_at(&mut bytes, at).ok()?;
            ClaimInfo::from_bytes(&bytes[..length])
        })
    }
}

/// Returns the offsets of the slot: the usual one, and the one for processes whose limit on the size of files is lower.
fn offsets(slot: u64) -> [u64; 2] {
    [slot % SLOTS, slot % FIRST_SLOTS].map(|slot| slot * SIZE as u64)
}

fn range(kind: libc::c_int, bytes: &RangeInclusive<i64>) -> libc::flock {
    libc::flock {
        l_type: short(kind),
        l_whence: short(libc::SEEK_SET),
        l_start: *bytes.start(),
        l_len: bytes.end() - bytes.start() + 1,
        // The system requires zero for locks of this kind.
        l_pid: 0,
    }
}

// The constants of this interface have a wider type than its fields.
fn short(constant: libc::c_int) -> libc::c_short {
    libc::c_short::try_from(constant).unwrap_or_default()
}

fn uninterrupted<T>(mut operation: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match operation() {
            Err(Errno::EINTR) => {}
            done => return done,
        }
    }
}
