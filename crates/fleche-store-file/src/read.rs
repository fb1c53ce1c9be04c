//! Reading entries: whole, and verified.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read},
    path::Path,
};

use fleche_core::{Digest, Error, Result};

use crate::{aside::Found, error::not_a_file, tree::Tree};

impl Tree {
    /// What `verify` makes of the entry's bytes; `None` if there is no entry. What `verify` refuses, giving the reason,
    /// is set aside.
    ///
    /// # Errors
    /// [`Error::Damaged`] for what was set aside; [`Error::Io`] if the file cannot be read, or held in memory.
    pub(crate) fn read<T>(&self, digest: &Digest, verify: impl Fn(Vec<u8>) -> Result<T, String>) -> Result<Option<T>> {
        let path = self.path(digest);
        let Some(bytes) = read_file(&path)? else { return Ok(None) };
        match verify(bytes) {
            Ok(content) => Ok(Some(content)),
            Err(why) => match self.set_aside(digest, &path, &why, verify)? {
                Found::Whole(content) => Ok(Some(content)),
                Found::Gone => Ok(None),
            },
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
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits());
    }
    options.read(true).open(path)
}

/// Most records are shorter than this, and then one read is all that they take.
const SHORT: usize = 4096;

/// The file's bytes; `None` if there is no file.
pub(crate) fn read_file(path: &Path) -> Result<Option<Vec<u8>>> {
    let mut file = match open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.map_err(Error::io("read", path))?,
    };
    let mut bytes = vec![0; SHORT];
    match file.read(&mut bytes) {
        // Fewer than asked for: that was all of it.
        Ok(length @ 1..SHORT) => {
            bytes.truncate(length);
            return Ok(Some(bytes));
        }
        Ok(length) => bytes.truncate(length),
        Err(_) => bytes.clear(),
    }
    let metadata = file.metadata().map_err(Error::io("read", path))?;
    if !metadata.is_file() {
        return Err(not_a_file("read", path));
    }
    read_rest(&file, metadata.len(), bytes).map(Some).map_err(Error::io("read", path))
}

// Entries are never written to once they have their names: a file that ends elsewhere than its length says is damaged,
// which verifying shows. So its end need not be looked for.
fn read_rest(file: &File, length: u64, mut bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    // Any length can be claimed by a file with holes.
    let capacity = usize::try_from(length).map_err(|_| ErrorKind::OutOfMemory)?.saturating_sub(bytes.len());
    bytes.try_reserve_exact(capacity).map_err(|_| ErrorKind::OutOfMemory)?;
    file.take(capacity as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}
