//! `LockFile`: the file whose bytes are locked, and what else is in it.

use std::{
    fs::File,
    io::{self, ErrorKind},
    ops::RangeInclusive,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
};

use fleche_core::{owner::Process, written_file};
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, fcntl},
    libc,
};

use crate::claims::published::{Published, SIZE};

/// What is published stands in as many places as this, which several keys may share.
const SLOTS: u64 = 4096;

/// A process that may not write at the place of a slot (`ulimit -f`) publishes in one of this many first places.
const FIRST_SLOTS: u64 = 16;

/// The file, open once for all who claim in this process: its locks belong to the *open file description*, so that they
/// end with the process however it ends, and nothing else that the process does with the file touches them. Within the
/// process they exclude nobody.
pub(super) struct LockFile {
    pub(super) path: PathBuf,
    pub(super) process: Process,
    file: File,
}

impl LockFile {
    /// Opens the file, and creates it where that is wanted; `None` if there is none.
    pub(super) fn open(path: &Path, create: bool, shared: bool) -> io::Result<Option<Self>> {
        let file = match written_file::open(path, create, shared) {
            Err(error) if error.kind() == ErrorKind::NotFound && !create => return Ok(None),
            file => file?,
        };
        Ok(Some(Self { path: path.to_owned(), process: Process::this(), file }))
    }

    /// Whether nobody else finds this file any more, because somebody removed it.
    pub(super) fn is_removed(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
    }

    /// Whether this is a child that its parent forked: it has the parent's open file description, whose locks are the
    /// parent's to release.
    pub(super) fn is_inherited(&self) -> bool {
        std::process::id() != self.process.id
    }

    /// Whether the byte is now locked by this process, which may have been so before.
    pub(super) fn try_lock(&self, byte: i64) -> io::Result<bool> {
        let lock = range(libc::F_WRLCK, &(byte..=byte));
        match uninterrupted(|| fcntl(&self.file, FcntlArg::F_OFD_SETLK(&lock))) {
            Ok(_) => Ok(true),
            Err(Errno::EAGAIN) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns when the byte is locked by this process.
    pub(super) fn lock(&self, byte: i64) -> io::Result<()> {
        let lock = range(libc::F_WRLCK, &(byte..=byte));
        uninterrupted(|| fcntl(&self.file, FcntlArg::F_OFD_SETLKW(&lock)))?;
        Ok(())
    }

    pub(super) fn unlock(&self, byte: i64) {
        let lock = range(libc::F_UNLCK, &(byte..=byte));
        if let Err(error) = uninterrupted(|| fcntl(&self.file, FcntlArg::F_OFD_SETLK(&lock))) {
            fleche_core::log::warn!(
                "cannot release a claim in `{}`: {error}; it stays until this process ends",
                self.path.display()
            );
        }
    }

    /// The last of these bytes that another process has locked.
    pub(super) fn last_locked(&self, mut bytes: RangeInclusive<i64>) -> io::Result<Option<i64>> {
        let mut last = None;
        while !bytes.is_empty() {
            // It tells of any one conflict.
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

    /// Writes what others may know; that it cannot be written is no reason not to have the claim.
    pub(super) fn publish(&self, slot: u64, published: &Published) {
        let bytes = published.to_bytes();
        let [usual, first] = places(slot);
        let fits = |at: &u64| written_file::check_limit(at + bytes.len() as u64).is_ok();
        let at = Some(usual).filter(fits).unwrap_or(first);
        let written =
            written_file::check_limit(at + bytes.len() as u64).and_then(|()| self.file.write_all_at(&bytes, at));
        if let Err(error) = written {
            tracing::debug!("cannot tell in `{}` whose claim it is: {error}", self.path.display());
        }
    }

    /// Reads the places of this slot.
    pub(super) fn published(&self, slot: u64) -> impl Iterator<Item = Published> {
        places(slot).into_iter().filter_map(|at| {
            let mut bytes = [0; SIZE];
            let length = self.file.read_at(&mut bytes, at).ok()?;
            Published::from_bytes(&bytes[..length])
        })
    }
}

/// Returns the places of the slot: the usual one, and the one for processes that may not write there.
fn places(slot: u64) -> [u64; 2] {
    [slot % SLOTS, slot % FIRST_SLOTS].map(|place| place * SIZE as u64)
}

fn range(kind: libc::c_int, bytes: &RangeInclusive<i64>) -> libc::flock {
    libc::flock {
        l_type: short(kind),
        l_whence: short(libc::SEEK_SET),
        l_start: *bytes.start(),
        l_len: bytes.end() - bytes.start() + 1,
        // Asked for by the system, for locks of this kind.
        l_pid: 0,
    }
}

// The constants of this interface are of a wider type than its fields.
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
