//! Writes entries under a temporary name, then renames them; removes entries, with conditions that are evaluated
//! atomically; and syncs entries to survive a power failure.

use std::{
    fmt, fs,
    fs::{File, Metadata},
    io,
    io::{ErrorKind, Write},
    path::Path,
    sync::atomic::Ordering,
};

use fleche_core::{Digest, Error, Result, store::kit::written_file};
use serde::{Deserialize, Serialize};

use crate::{
    clock::touch,
    directory::Directory,
    open::{open, open_no_follow},
    temp_files::{TempFile, create_directory, sweep},
};

/// The number of times that an entry is written if its temporary file vanishes before it is renamed.
const ATTEMPTS: usize = 3;

impl Directory {
    /// Writes the entry, replacing any file that has its name.
    pub(crate) fn write(&self, digest: &Digest, bytes: &[u8], durability: Durability, shared: bool) -> Result<()> {
        let path = self.path(digest);
        let mut attempt = 1;
        loop {
            match self.try_write(digest, &path, bytes, durability, shared) {
                // Another process considered this one dead, for example because it was suspended for a day, or removed
                // the directory.
                Err(error) if error.kind() == ErrorKind::NotFound && attempt < ATTEMPTS => attempt += 1,
                written => return written.map_err(Error::io("write", path)),
            }
        }
    }

    fn try_write(
        &self,
        digest: &Digest,
        path: &Path,
        bytes: &[u8],
        durability: Durability,
        shared: bool,
    ) -> io::Result<()> {
        written_file::check_limit(bytes.len() as u64)?;
        let temporary = path.with_file_name(TempFile::Write.name());
        let (file, created) = create(&temporary, shared)?;
        let written = fill(file, bytes, durability).and_then(|()| fs::rename(&temporary, path));
        if written.is_err() {
            // The first error is reported.
            let _ = fs::remove_file(&temporary);
        }
        written?;
        let first = digest.as_bytes()[0];
        if self.swept_shards.insert(first) && !created {
            sweep(&self.shard(first));
        }
        if durability == Durability::Always { self.sync_directories(first) } else { Ok(()) }
    }

    /// Resets the age of an entry of this length. Returns `false` if there is no such entry, or if this fails; the
    /// caller must then write the entry.
    pub(crate) fn refresh(&self, digest: &Digest, length: usize, durability: Durability) -> Result<bool> {
        let path = self.path(digest);
        // An open file, so that the checked file is the one whose time is set.
        let Ok(file) = open_no_follow(&path) else { return Ok(false) };
        let Ok(found) = file.metadata() else { return Ok(false) };
        if !found.is_file() || u64::try_from(length) != Ok(found.len()) {
            return Ok(false);
        }
        if touch(&file).is_err() {
            return Ok(false);
        }
        if durability == Durability::Always {
            sync_file(&file)
                .and_then(|()| self.sync_directories(digest.as_bytes()[0]))
                .map_err(Error::io("sync", &path))?;
        }
        // Removal checks the age after renaming the entry. If the entry has been renamed by now, it may still have
        // seemed too old. If not, a later removal sees the new age.
        Ok(fs::metadata(&path).is_ok_and(|current| same_file(&found, &current)))
    }
}

/// Creates the file, and its directory if the directory is missing. Returns the file and whether its directory is new.
fn create(path: &Path, shared: bool) -> io::Result<(File, bool)> {
    let (file, is_first) = match File::create_new(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            create_directory(path.parent().unwrap_or(path), shared)?;
            (File::create_new(path)?, true)
        }
        file => (file?, false),
    };
    if shared {
        written_file::share(&file, path);
    }
    Ok((file, is_first))
}

fn fill(mut file: File, bytes: &[u8], durability: Durability) -> io::Result<()> {
    file.write_all(bytes)?;
    if durability == Durability::Always { sync_file(&file) } else { Ok(()) }
}

#[cfg(unix)]
fn same_file(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

// On these systems, open files cannot be renamed.
#[cfg(not(unix))]
fn same_file(_one: &Metadata, _other: &Metadata) -> bool {
    true
}

impl Directory {
    /// Removes the entry. Returns whether there was one.
    pub(crate) fn remove(&self, digest: &Digest) -> Result<bool> {
        let path = self.path(digest);
        existed(fs::remove_file(&path)).map_err(Error::io("remove", path))
    }

    /// Removes the entry if `condition` holds for its file. Returns whether it was removed.
    ///
    /// Checking an entry and then removing it would lose an entry that is put between the two steps. So the entry is
    /// first renamed, then checked where no other process can change it, and put back if the condition does not hold.
    /// Readers miss the entry while it is renamed, so the condition is also evaluated once before, which avoids
    /// renaming most of the entries that stay.
    pub(crate) fn remove_if(&self, digest: &Digest, condition: impl Fn(&Path) -> Result<bool>) -> Result<bool> {
        let path = self.path(digest);
        if !condition(&path)? {
            return Ok(false);
        }
        let trash = path.with_file_name(TempFile::Removal.name());
        if !existed(fs::rename(&path, &trash)).map_err(Error::io("remove", &path))? {
            return Ok(false);
        }
        match condition(&trash) {
            Ok(true) => fs::remove_file(&trash).map(|()| true).map_err(Error::io("remove", trash)),
            other => {
                put_back(&trash, &path).map_err(Error::io("put back", path))?;
                other
            }
        }
    }
}

/// Restores the name of a renamed entry, unless a newer entry has that name or the renamed entry has been removed since.
pub(crate) fn put_back(from: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(from, path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        // Not every file system has hard links. Without them, an entry that is put between these two steps is lost,
        // which is only a miss.
        Err(_) if path.symlink_metadata().is_err() => fs::rename(from, path),
        Ok(()) | Err(_) => fs::remove_file(from),
    }
}

fn existed(done: io::Result<()>) -> io::Result<bool> {
    match done {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        done => done.map(|()| true),
    }
}

/// The time at which an entry is made to survive a power failure. A crash of the process alone never loses an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// When `sync` is called, which happens for results that took long to compute.
    #[default]
    Auto,
    /// In each `put`, before it returns.
    Always,
    /// When the operating system writes the entry; `sync` does nothing.
    Never,
}

/// Writes the name in configurations: `auto`.
impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Never => "never",
        })
    }
}

impl Directory {
    /// Returns once the entry would survive a power failure.
    ///
    /// # Errors
    /// Fails with [`Error::Io`], including if there is no such entry.
    pub(crate) fn sync(&self, digest: &Digest) -> Result<()> {
        let path = self.path(digest);
        open(&path)
            .and_then(|file| sync_file(&file))
            .and_then(|()| self.sync_directories(digest.as_bytes()[0]))
            .map_err(Error::io("sync", path))
    }

    /// Makes the names in this shard durable: syncs the shard directory and, once in this process, the directories
    /// above it.
    pub(crate) fn sync_directories(&self, first: u8) -> io::Result<()> {
        sync_directory(&self.shard(first))?;
        if !self.synced_shards.contains(first) {
            sync_directory(&self.root)?;
            self.synced_shards.insert(first);
        }
        if !self.ancestors_synced.load(Ordering::Relaxed) {
            // It is unknown which process created these directories and when, and some may not be readable.
            for above in self.root.ancestors().skip(1) {
                let _ = sync_directory(above);
            }
            self.ancestors_synced.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Returns once data and metadata of the file are on the disk.
pub(crate) fn sync_file(file: &File) -> io::Result<()> {
    file.sync_all()
}

fn sync_directory(path: &Path) -> io::Result<()> {
    match File::open(path)?.sync_all() {
        // Some network file systems cannot sync directories, and need not.
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        synced => synced,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::Kind;

    #[test]
    fn entry_is_put_back_if_condition_fails_after_renaming() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::open(root.path(), Kind::Values, false).unwrap();
        let digest = Digest::hash(b"a");
        directory.write(&digest, b"a", Durability::Auto, false).unwrap();
        let path = directory.path(&digest);
        assert!(!directory.remove_if(&digest, |looked_at| Ok(looked_at == path)).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"a");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn put_back_does_not_replace_newer_entry() {
        let root = tempfile::tempdir().unwrap();
        let [from, path] = ["from", "path"].map(|name| root.path().join(name));
        fs::write(&from, b"earlier").unwrap();
        fs::write(&path, b"later").unwrap();
        put_back(&from, &path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"later");
        assert!(!from.exists());
    }

    #[test]
    fn put_back_ignores_removed_entry() {
        let root = tempfile::tempdir().unwrap();
        put_back(&root.path().join("from"), &root.path().join("path")).unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
