//! Syncs entries to survive a power failure: the file, its directory, and the directories above it.

use std::{
    fs::File,
    io::{self, ErrorKind},
    path::Path,
    sync::atomic::Ordering,
};

use fleche_core::{Digest, Error, Result};

use crate::{directory::Directory, read::open};

impl Directory {
    /// Returns once the entry would survive a power failure.
    ///
    /// # Errors
    /// Fails with [`Error::Io`], including if there is no such entry.
    pub(crate) fn sync(&self, digest: &Digest) -> Result<()> {
        let path = self.path(digest);
        open(&path)
            .and_then(|file| sync_file(&file))
            .and_then(|()| self.anchor(digest.as_bytes()[0]))
            .map_err(Error::io("sync", path))
    }

    /// Makes the names in this shard survive: syncs the shard directory and, once in this process, the directories
    /// above it.
    pub(crate) fn anchor(&self, first: u8) -> io::Result<()> {
        sync_directory(&self.shard(first))?;
        if !self.anchored.contains(first) {
            sync_directory(&self.root)?;
            self.anchored.insert(first);
        }
        if !self.root_anchored.load(Ordering::Relaxed) {
            // It is unknown which process created these directories and when, and some may not be readable.
            for above in self.root.ancestors().skip(1) {
                let _ = sync_directory(above);
            }
            self.root_anchored.store(true, Ordering::Relaxed);
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
