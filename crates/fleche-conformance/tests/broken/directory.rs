//! The sound store that the faulty ones are built on: a directory with one file per entry.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime},
};

use fleche_core::{
    Digest, DigestPrefix, Error, Result,
    spi::LockResultExt,
    store::{Entries, OpenStores, Place},
};

/// A store of entries in a directory. Callers of methods that change entries must hold the lock.
#[derive(Debug)]
pub(crate) struct Directory {
    root: PathBuf,
    changing: Mutex<()>,
}

impl Directory {
    pub(crate) fn open(root: &Path) -> Result<Arc<Self>> {
        static OPEN: OpenStores<Place, Directory> = OpenStores::new();
        let (root, place) = Place::create_directory(root)?;
        OPEN.get_or_open(place, || Ok(Self { root, changing: Mutex::default() }))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().ignore_poison()
    }

    fn path(&self, id: &Digest) -> PathBuf {
        self.root.join(id.to_string())
    }

    pub(crate) fn read(&self, id: &Digest) -> Result<Option<Vec<u8>>> {
        match fs::read(self.path(id)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            read => read.map(Some).map_err(Error::io("read", self.path(id))),
        }
    }

    pub(crate) fn contains(&self, id: &Digest) -> bool {
        self.path(id).exists()
    }

    pub(crate) fn age(&self, id: &Digest) -> Option<Duration> {
        let modified = fs::metadata(self.path(id)).ok()?.modified().ok()?;
        Some(SystemTime::now().duration_since(modified).unwrap_or_default())
    }

    /// Writes an entry. The caller must hold the lock.
    pub(crate) fn write(&self, id: &Digest, bytes: &[u8]) -> Result<()> {
        let (temporary, path) = (self.root.join("temporary"), self.path(id));
        fs::write(&temporary, bytes).map_err(Error::io("write", &temporary))?;
        fs::rename(temporary, &path).map_err(Error::io("write", path))
    }

    /// Removes an entry, and returns whether it was present. The caller must hold the lock.
    pub(crate) fn delete(&self, id: &Digest) -> bool {
        fs::remove_file(self.path(id)).is_ok()
    }

    /// Removes an entry like `delete`, but keeps its file under another name. The caller must hold the lock.
    pub(crate) fn move_away(&self, id: &Digest) -> bool {
        fs::rename(self.path(id), self.path(id).with_extension("removed")).is_ok()
    }

    /// Restores the entries that `move_away` removed and that have not been put since.
    pub(crate) fn undo_removals(root: &Path) {
        let entries = fs::read_dir(root).into_iter().flatten().filter_map(Result::ok);
        for removed in entries.map(|entry| entry.path()).filter(|path| path.extension().is_some()) {
            let path = removed.with_extension("");
            if !path.exists() {
                fs::rename(&removed, path).unwrap();
            }
        }
    }

    /// Creates a marker file for this entry, and returns whether there was none.
    pub(crate) fn mark(&self, id: &Digest) -> bool {
        fs::File::create_new(self.path(id).with_extension("claimed")).is_ok()
    }

    pub(crate) fn list(&self, prefix: &DigestPrefix) -> Result<Entries<'_, Digest>> {
        let prefix = prefix.clone();
        let entries = fs::read_dir(&self.root).map_err(Error::io("list", &self.root))?;
        let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<Digest>().ok());
        Ok(Box::new(ids.filter(move |id| prefix.matches(id)).map(Ok)))
    }
}
