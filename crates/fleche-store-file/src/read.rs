//! Reading entries: whole, and verified.

use std::{
    cell::Cell,
    fs::{self, File},
    io::{self, ErrorKind, Read},
    path::Path,
};

use fleche_core::{Digest, Error, Result};

use crate::{
    aside::Found,
    error::{not_a_file, too_long},
    tree::{Kind, Tree},
};

impl Tree {
    /// What `verify` makes of the entry's bytes; `None` if there is no entry. What `verify` refuses, giving the reason,
    /// is set aside.
    ///
    /// # Errors
    /// [`Error::Damaged`] for what was set aside; [`Error::Io`] if the file cannot be read, or held in memory. A file that
    /// is longer than any record is set aside unread.
    pub(crate) fn read<T>(&self, digest: &Digest, verify: impl Fn(Vec<u8>) -> Result<T, String>) -> Result<Option<T>> {
        let path = self.path(digest);
        let verified = match read_file(&path, self.longest()) {
            Ok(None) => return Ok(None),
            Ok(Some(bytes)) => verify(bytes),
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::FileTooLarge => Err(source.to_string()),
            Err(error) => return Err(error),
        };
        match verified {
            Ok(content) => Ok(Some(content)),
            Err(why) => match self.set_aside(digest, &path, &why, verify)? {
                Found::Whole(content) => Ok(Some(content)),
                Found::Gone => Ok(None),
            },
        }
    }

    /// How many bytes an entry has at most.
    pub(crate) fn longest(&self) -> u64 {
        match self.kind {
            Kind::Values => u64::MAX,
            Kind::Calls => LONGEST_RECORD,
        }
    }

    /// Whether there is an entry; it is not read.
    pub(crate) fn contains(&self, digest: &Digest) -> Result<bool> {
        let path = self.path(digest);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(metadata.is_file()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io("look at", path)(error)),
        }
    }
}

/// Opens an entry for reading. Whatever stands in its place does not keep the caller waiting, as a pipe would.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    #[cfg(unix)]
    {
        use nix::fcntl::OFlag;
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits());
    }
    options.read(true).open(path)
}

/// Like [`open`], for a file whose times are to be set: does not follow a link in its place.
pub(crate) fn open_itself(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    #[cfg(unix)]
    {
        use nix::fcntl::OFlag;
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_NOFOLLOW).bits());
    }
    options.read(true).open(path)
}

/// Records hold names, digests and small values. A longer file is not a record.
pub(crate) const LONGEST_RECORD: u64 = 64 << 20;

/// Files from this length on are read only if there is memory for them, since files with holes can have any length.
const LARGE: u64 = 1 << 30;

/// Most records are shorter than this, and then one read is all that they take.
const SHORT: usize = 4096;

thread_local! {
    /// Room for the beginnings of files. It is cleared once, and not for each file.
    static BEGINNING: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The file's bytes; `None` if there is no file.
///
/// # Errors
/// [`Error::Io`], of kind [`ErrorKind::FileTooLarge`] where the file is longer than `longest`: then it is not read.
pub(crate) fn read_file(path: &Path, longest: u64) -> Result<Option<Vec<u8>>> {
    let file = match open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.map_err(Error::io("read", path))?,
    };
    // A thread that is ending has none.
    let mut beginning = BEGINNING.try_with(Cell::take).unwrap_or_default();
    beginning.resize(SHORT, 0);
    let bytes = read_open(&file, path, &mut beginning, longest);
    let _ = BEGINNING.try_with(|kept| kept.set(beginning));
    bytes.map(Some)
}

fn read_open(mut file: &File, path: &Path, beginning: &mut [u8], longest: u64) -> Result<Vec<u8>> {
    let read = match file.read(beginning) {
        // Fewer than asked for: that was all of it.
        Ok(length @ 1..SHORT) => return Ok(beginning[..length].to_vec()),
        Ok(length) => length,
        Err(_) => 0,
    };
    let metadata = file.metadata().map_err(Error::io("read", path))?;
    if !metadata.is_file() {
        return Err(not_a_file("read", path));
    }
    if metadata.len() > longest {
        return Err(Error::io("read", path)(too_long(metadata.len(), longest)));
    }
    if metadata.len() >= LARGE && available_memory().is_some_and(|available| metadata.len() > available) {
        return Err(Error::io("read", path)(ErrorKind::OutOfMemory.into()));
    }
    read_rest(file, metadata.len(), &beginning[..read]).map_err(Error::io("read", path))
}

/// Returns how many bytes are available without swapping, or `None` where the system does not report it.
fn available_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

// Entries are never written to once they have their names: a file that ends elsewhere than its length says is damaged,
// which verifying shows. So its end need not be looked for.
fn read_rest(file: &File, length: u64, beginning: &[u8]) -> io::Result<Vec<u8>> {
    let length = usize::try_from(length).map_err(|_| ErrorKind::OutOfMemory)?.max(beginning.len());
    let mut bytes = Vec::new();
    // Any length can be claimed by a file with holes.
    bytes.try_reserve_exact(length).map_err(|_| ErrorKind::OutOfMemory)?;
    bytes.extend_from_slice(beginning);
    file.take((length - beginning.len()) as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}
