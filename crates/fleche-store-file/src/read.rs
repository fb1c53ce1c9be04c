//! Reads whole entries and verifies them.

use std::{
    cell::Cell,
    fs::{self, File},
    io::{self, ErrorKind, Read},
    path::Path,
};

use fleche_core::{Digest, Error, Result};

use crate::{
    directory::{Directory, Kind},
    error::{not_a_file, too_long},
    open::open,
};

impl Directory {
    /// Returns the result of `verify` on the entry's bytes, or `None` if there is no entry. If `verify` fails, which it
    /// does with a reason, the entry is quarantined.
    ///
    /// # Errors
    /// Fails with [`Error::Damaged`] if the entry was quarantined, and with [`Error::Io`] if the file cannot be read or
    /// does not fit into memory. A file that is longer than any record is quarantined unread.
    pub(crate) fn read<T>(&self, digest: &Digest, verify: impl Fn(Vec<u8>) -> Result<T, String>) -> Result<Option<T>> {
        let path = self.path(digest);
        let verified = match read_file(&path, self.max_len()) {
            Ok(None) => return Ok(None),
            Ok(Some(bytes)) => verify(bytes),
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::FileTooLarge => Err(source.to_string()),
            Err(error) => return Err(error),
        };
        match verified {
            Ok(content) => Ok(Some(content)),
            Err(reason) => match self.quarantine(digest, &path, &reason, verify)? {
                Rechecked::Intact(content) => Ok(Some(content)),
                Rechecked::Gone => Ok(None),
            },
        }
    }

    /// Returns the maximum length of an entry in bytes.
    pub(crate) fn max_len(&self) -> u64 {
        match self.kind {
            Kind::Values => u64::MAX,
            Kind::Calls => MAX_RECORD_LEN,
        }
    }

    /// Returns whether there is an entry, without reading it.
    pub(crate) fn contains(&self, digest: &Digest) -> Result<bool> {
        let path = self.path(digest);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(metadata.is_file()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io("read the metadata of", path)(error)),
        }
    }
}

/// The result of checking a seemingly damaged entry again.
pub(crate) enum Rechecked<T> {
    /// An intact entry, which another process had put in place of the damaged one.
    Intact(T),
    /// No entry: another process has quarantined or removed it.
    Gone,
}

/// The maximum length of a record, which consists of names, digests and small values.
pub(crate) const MAX_RECORD_LEN: u64 = 64 << 20;

/// The length from which a file is read only if there is memory for it, since a sparse file can have any length.
const LARGE: u64 = 1 << 30;

/// The size of the first read. Most records are shorter, so one read suffices.
const SHORT: usize = 4096;

thread_local! {
    /// A buffer for the first read, which is zeroed once instead of for every file.
    static BEGINNING: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Returns the content of the file, or `None` if there is no file.
///
/// # Errors
/// Fails with [`Error::Io`]. If the file is longer than `max_len`, the kind is [`ErrorKind::FileTooLarge`], and the file is not read.
pub(crate) fn read_file(path: &Path, max_len: u64) -> Result<Option<Vec<u8>>> {
    let file = match open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.map_err(Error::io("read", path))?,
    };
    // Thread-local storage may be gone while a thread ends.
    let mut beginning = BEGINNING.try_with(Cell::take).unwrap_or_default();
    beginning.resize(SHORT, 0);
    let bytes = read_open_file(&file, path, &mut beginning, max_len);
    let _ = BEGINNING.try_with(|kept| kept.set(beginning));
    bytes.map(Some)
}

fn read_open_file(mut file: &File, path: &Path, beginning: &mut [u8], max_len: u64) -> Result<Vec<u8>> {
    let read = match file.read(beginning) {
        // A short read means the end of the file.
        Ok(length @ 1..SHORT) => return Ok(beginning[..length].to_vec()),
        Ok(length) => length,
        Err(_) => 0,
    };
    let metadata = file.metadata().map_err(Error::io("read", path))?;
    if !metadata.is_file() {
        return Err(not_a_file("read", path));
    }
    if metadata.len() > max_len {
        return Err(Error::io("read", path)(too_long(metadata.len(), max_len)));
    }
    if metadata.len() >= LARGE && available_memory().is_some_and(|available| metadata.len() > available) {
        return Err(Error::io("read", path)(ErrorKind::OutOfMemory.into()));
    }
    read_rest(file, metadata.len(), &beginning[..read]).map_err(Error::io("read", path))
}

/// Returns the number of bytes that are available without swapping, or `None` where the system does not report it.
fn available_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

// Files do not change once they have the name of an entry. If the file does not end where its length says, it is
// damaged, and verification detects that; so no read is needed to find the end.
fn read_rest(file: &File, length: u64, beginning: &[u8]) -> io::Result<Vec<u8>> {
    let length = usize::try_from(length).map_err(|_| ErrorKind::OutOfMemory)?.max(beginning.len());
    let mut bytes = Vec::new();
    // A sparse file can have any length.
    bytes.try_reserve_exact(length).map_err(|_| ErrorKind::OutOfMemory)?;
    bytes.extend_from_slice(beginning);
    file.take((length - beginning.len()) as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}
