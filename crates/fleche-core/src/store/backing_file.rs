//! Detects that the file of an open store was removed or replaced.

#[cfg(target_os = "linux")]
use std::fs::File;
use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use super::Place;
use crate::error::{Error, Result};

/// Runs a write, and repeats it at most `times` times while it fails because its store was reopened. `reopened` gets
/// the errors of the runs that are repeated.
///
/// # Errors
/// Fails with the error of the last run.
pub fn retry_if_reopened<T>(
    times: usize,
    mut reopened: impl FnMut(&Error),
    mut operation: impl FnMut() -> Result<T>,
) -> Result<T> {
    for _ in 0..times {
        match operation() {
            Err(error @ Error::Reopened { .. }) => reopened(&error),
            done => return done,
        }
    }
    operation()
}

/// The file that an open store uses, and the store that replaces this one when the path leads to another file.
///
/// Databases continue to work on a file that was unlinked, so writes to it are lost without an error. A store that
/// keeps this next to its engine and implements [`FileBacked`] detects that.
///
/// The earlier engine, and with it the disk space of the removed file, stays until the handles that opened it are
/// dropped. Operations and iterators that began earlier borrow the engine from these handles, and exchangeable handles
/// would cost every operation a lock.
#[derive(Debug)]
pub struct BackingFile<S> {
    path: PathBuf,
    place: Place,
    /// The file itself, even if it is renamed.
    #[cfg(target_os = "linux")]
    file: File,
    successor: OnceLock<Arc<S>>,
}

impl<S> BackingFile<S> {
    /// Creates a reference to the existing file at this path.
    ///
    /// # Errors
    /// Fails with [`Error::Io`] if it does not exist or cannot be inspected.
    pub fn new(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        Ok(Self {
            place: Place::new(&path)?,
            #[cfg(target_os = "linux")]
            file: reference(&path).map_err(Error::io("open", &path))?,
            path,
            successor: OnceLock::new(),
        })
    }

    /// Returns the path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns whether the file was removed or the path leads to another file. A file that was moved still belongs to
    /// the store, and an inaccessible path does not count as removed.
    fn is_gone(&self) -> bool {
        match Place::new(&self.path) {
            Ok(place) => place != self.place,
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => self.is_unlinked(),
            Err(_) => false,
        }
    }

    #[cfg(target_os = "linux")]
    fn is_unlinked(&self) -> bool {
        use std::os::unix::fs::MetadataExt as _;
        self.file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
    }

    // On other systems a moved file cannot be distinguished from a removed one.
    #[cfg(not(target_os = "linux"))]
    fn is_unlinked(&self) -> bool {
        true
    }
}

/// Opens a reference to the file without opening its content. Closing an open file would release the locks that an
/// engine of this process has on it; closing a reference does not.
#[cfg(target_os = "linux")]
fn reference(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    File::options().read(true).custom_flags(nix::libc::O_PATH).open(path)
}

/// A store in one file that may be removed or replaced while the store is open. A store without a file, such as one in
/// memory or on a server, implements no method.
pub trait FileBacked: Sized {
    /// Returns the file. The default has none.
    fn backing_file(&self) -> Option<&BackingFile<Self>> {
        None
    }

    /// Opens the store at the path again, creating what is missing. Called only if there is a file. The default refuses.
    ///
    /// # Errors
    /// Fails with the errors of opening the store.
    fn open_again(&self) -> Result<Arc<Self>> {
        Err(Error::Refused { store: "a store without a file".to_owned(), operation: "open its file again" })
    }

    /// Returns the store that now serves the path: this one, or its successor.
    fn current(self: &Arc<Self>) -> &Arc<Self> {
        let mut store = self;
        while let Some(successor) = store.backing_file().and_then(|file| file.successor.get()) {
            store = successor;
        }
        store
    }

    /// Returns the store to write to, after checking the path.
    ///
    /// # Errors
    /// Fails with [`Error::Reopened`] if the file was removed or replaced: the store at the path has been opened, and
    /// the caller may try again. Also fails with the errors of opening it.
    fn writable(self: &Arc<Self>) -> Result<&Arc<Self>> {
        let current = self.current();
        let Some(file) = current.backing_file().filter(|file| file.is_gone()) else { return Ok(current) };
        let successor = current.open_again()?;
        if Arc::ptr_eq(&successor, current) {
            return Ok(current);
        }
        // If another thread was faster, it opened the same store, because each place has only one.
        let _ = file.successor.set(successor);
        Err(Error::Reopened { path: file.path.clone() })
    }
}
