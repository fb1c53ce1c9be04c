//! `FileValues`: encoded values in a directory, in files named for their digests.

use std::{fs, io::ErrorKind, path::Path, time::Duration};

use bytes::Bytes;
use fleche_core::{
    Digest, DigestPrefix, Error, Result, ValueStore,
    store::{Check, Entries, ValueStoreConfig, kit::Handle},
};

use crate::{
    ClaimMethod, Durability, FileValuesConfig,
    clock::FileClock,
    directory::{Directory, Kind},
    error::not_a_file,
};

/// A [`ValueStore`] in a directory, with one file per value. A clone is another handle to the same store.
///
/// The age of an entry is the difference between its file's modification time and that of a file which the store touches, so
/// the file system's clock decides and hosts that share the directory need not agree on the time. A time in the future counts
/// as one equally far in the past. In a directory that this user may not write to, the clock of the host decides.
#[derive(Clone, Debug)]
pub struct FileValues {
    directory: Handle<Directory>,
    durability: Durability,
    shared: bool,
    claims: ClaimMethod,
}

impl FileValues {
    /// Opens the store in this directory, creating the directory if it is missing.
    ///
    /// # Errors
    /// Fails with [`Error::Io`] if the directory cannot be created or accessed, and with [`Error::Config`] if it holds
    /// records.
    pub fn open(root: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(&FileValuesConfig::new(root.as_ref()))
    }

    /// Opens the store that the configuration describes.
    ///
    /// # Errors
    /// Fails as [`open`](Self::open) does.
    pub fn open_with(config: &FileValuesConfig) -> Result<Self> {
        let FileValuesConfig { ref root, durability, shared, claims } = *config;
        Ok(Self { directory: Handle::new(Directory::open(root, Kind::Values, shared)?), durability, shared, claims })
    }

    /// Returns the directory as an absolute path, as it was named when it was first opened.
    pub fn root(&self) -> &Path {
        &self.directory.opened().root
    }
}

impl ValueStore for FileValues {
    fn read(&self, id: &Digest, check: Check<'_>) -> Result<Option<Bytes>> {
        self.directory.current()?.read(id, |bytes| check(Bytes::from(bytes)))
    }

    /// Stores the value without hashing it: a mismatch of bytes and digest is detected when the entry is read.
    fn put(&self, id: &Digest, encoded: &[u8]) -> Result<()> {
        if self.directory.current()?.refresh(id, encoded.len(), self.durability)? {
            return Ok(());
        }
        self.directory.current()?.write(id, encoded, self.durability, self.shared)
    }

    fn contains(&self, id: &Digest) -> Result<bool> {
        self.directory.current()?.contains(id)
    }

    fn age(&self, id: &Digest) -> Result<Option<Duration>> {
        let directory = self.directory.current()?;
        age("read the metadata of", &directory.path(id), &directory.clock, self.shared)
    }

    fn remove(&self, id: &Digest, older_than: Option<Duration>) -> Result<bool> {
        match older_than {
            None => self.directory.current()?.remove(id),
            Some(limit) => {
                let directory = self.directory.current()?;
                directory.remove_if(id, |path| {
                    Ok(age("remove", path, &directory.clock, self.shared)?.is_some_and(|age| age > limit))
                })
            }
        }
    }

    fn ids(&self, prefix: &DigestPrefix) -> Result<Entries<'_, Digest>> {
        Ok(self.directory.current()?.list(prefix))
    }

    fn sync(&self, id: &Digest) -> Result<()> {
        if self.durability == Durability::Never { Ok(()) } else { self.directory.current()?.sync(id) }
    }

    fn config(&self) -> Box<dyn ValueStoreConfig> {
        Box::new(FileValuesConfig::new(self.root()).durability(self.durability).shared(self.shared).claims(self.claims))
    }
}

/// Returns the time since the value was last put, or `None` if there is no file.
fn age(action: &'static str, path: &Path, clock: &FileClock, shared: bool) -> Result<Option<Duration>> {
    let metadata = match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        metadata => metadata.map_err(Error::io(action, path))?,
    };
    if !metadata.is_file() {
        return Err(not_a_file(action, path));
    }
    let modified = metadata.modified().map_err(Error::io(action, path))?;
    Ok(Some(clock.age(modified, shared)))
}
