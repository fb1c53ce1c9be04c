//! Collects which files the arguments of a call are, for another process: their encoding holds only digests.

use std::{
    cell::RefCell,
    path::{Path, PathBuf},
};

use super::known_files;
use crate::digest::Digest;

thread_local! {
    /// The files that were encoded since [`record_files`] began; `None` outside of it.
    static NOTED: RefCell<Option<Vec<KnownFile>>> = const { RefCell::new(None) };
}

/// A file and the digest of its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownFile {
    /// The digest of the content.
    pub digest: Digest,
    /// The absolute path of the file.
    pub path: PathBuf,
}

impl KnownFile {
    /// Lets this process look for the content at this path. The file is read and verified when an argument is decoded.
    pub fn introduce(self) {
        known_files::add(self.digest, self.path);
    }
}

/// Runs the closure, which encodes arguments, and also returns the files among them.
pub fn record_files<R>(encode: impl FnOnce() -> R) -> (R, Vec<KnownFile>) {
    struct Restored(Option<Vec<KnownFile>>);
    impl Drop for Restored {
        fn drop(&mut self) {
            NOTED.set(self.0.take());
        }
    }
    let _restored = Restored(NOTED.replace(Some(Vec::new())));
    let encoded = encode();
    (encoded, NOTED.take().unwrap_or_default())
}

/// Records a file that is being encoded, for [`record_files`].
pub(super) fn note(digest: &Digest, path: &Path) {
    let note = |noted: &mut Vec<KnownFile>| noted.push(KnownFile { digest: *digest, path: path.to_owned() });
    let _ = NOTED.try_with(|noted| noted.borrow_mut().as_mut().map(note));
}
