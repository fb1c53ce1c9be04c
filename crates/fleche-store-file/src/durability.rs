//! `Durability`: syncs entries to survive a power failure: the file, its directory, and the directories above it.

use std::{
    fs::File,
    io::{self, ErrorKind},
    path::Path,
    sync::atomic::Ordering,
};

use fleche_core::{Digest, Error, Result};
use serde::{Deserialize, Serialize};

use crate::{directory::Directory, read::open};

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
