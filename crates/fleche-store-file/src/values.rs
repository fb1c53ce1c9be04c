//! `FileValues`: encoded values in a directory, under their digests.

use std::{fmt, fs, io::ErrorKind, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use fleche_core::{
    Digest, DigestPrefix, Error, Result, ValueStore,
    error::ensure_not_forked,
    store::{Check, Entries, ValueStoreConfig, age_since},
};

use crate::{
    Durability, FileValuesConfig,
    error::not_a_file,
    tree::{Kind, Tree},
};

/// A [`ValueStore`] in a directory, one file a value. Cloning gives another handle to the same store.
///
/// Ages are the files' modification times compared with this system's clock. A time in the future counts as one equally far in
/// the past. If several hosts share the directory, their clocks should agree within the grace period of collecting values.
#[derive(Clone)]
pub struct FileValues {
    tree: Arc<Tree>,
    durability: Durability,
    shared: bool,
}

impl FileValues {
    /// The store in this directory, which is created if it is missing.
    ///
    /// # Errors
    /// [`Error::Io`] if the directory cannot be created or looked at; [`Error::Config`] if it holds records.
    pub fn open(root: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(&FileValuesConfig::new(root.as_ref()))
    }

    /// The store that the configuration describes.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(config: &FileValuesConfig) -> Result<Self> {
        let FileValuesConfig { ref root, durability, shared } = *config;
        Ok(Self { tree: Tree::open(root, Kind::Values, shared)?, durability, shared })
    }

    /// The directory, absolute, as it was called when it was first opened.
    pub fn root(&self) -> &Path {
        &self.tree.root
    }

    /// The directory, which a forked child leaves alone.
    fn tree(&self) -> Result<&Tree> {
        ensure_not_forked(|| format!("the store in `{}`", self.root().display()))?;
        Ok(&self.tree)
    }
}

impl ValueStore for FileValues {
    fn read(&self, id: &Digest, check: Check<'_>) -> Result<Option<Bytes>> {
        self.tree()?.read(id, |bytes| check(Bytes::from(bytes)))
    }

    /// As the trait says. Nothing is hashed: bytes under a digest that is not theirs are found out when they are read.
    fn put(&self, id: &Digest, encoded: &[u8]) -> Result<()> {
        if self.tree()?.refresh(id, encoded.len(), self.durability)? {
            return Ok(());
        }
        self.tree()?.write(id, encoded, self.durability, self.shared)
    }

    fn contains(&self, id: &Digest) -> Result<bool> {
        self.tree()?.contains(id)
    }

    fn age(&self, id: &Digest) -> Result<Option<Duration>> {
        age("look at", &self.tree()?.path(id))
    }

    fn remove(&self, id: &Digest, older_than: Option<Duration>) -> Result<bool> {
        match older_than {
            None => self.tree()?.remove(id),
            Some(limit) => self.tree()?.remove_if(id, |path| Ok(age("remove", path)?.is_some_and(|age| age > limit))),
        }
    }

    fn ids(&self, prefix: &DigestPrefix) -> Result<Entries<'_, Digest>> {
        Ok(self.tree()?.list(prefix))
    }

    fn sync(&self, id: &Digest) -> Result<()> {
        if self.durability == Durability::Never { Ok(()) } else { self.tree()?.sync(id) }
    }

    fn config(&self) -> Box<dyn ValueStoreConfig> {
        Box::new(FileValuesConfig::new(self.root()).durability(self.durability).shared(self.shared))
    }
}

/// The time since the file was put; `None` if there is none.
fn age(action: &'static str, path: &Path) -> Result<Option<Duration>> {
    let metadata = match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        metadata => metadata.map_err(Error::io(action, path))?,
    };
    if !metadata.is_file() {
        return Err(not_a_file(action, path));
    }
    let modified = metadata.modified().map_err(Error::io(action, path))?;
    Ok(Some(age_since(modified)))
}

impl fmt::Debug for FileValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tree, durability, shared } = self;
        f.debug_struct("FileValues")
            .field("root", &tree.root)
            .field("durability", durability)
            .field("shared", shared)
            .finish()
    }
}
