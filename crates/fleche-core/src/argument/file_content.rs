//! `FileContent`: a file as an argument, keyed by its content.

use std::{
    ops::Deref,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::{file_digests, known_files};
use crate::{
    digest::Digest,
    error::{Error, Result},
};

/// A path that stands for the content of the file: the parameter type for files.
///
/// It encodes as the digest of the file's content (a byte string of 32 bytes), so the same content under another name is
/// a hit and a changed file is a miss. If the file cannot be read when the call is looked up, the call runs without the
/// cache. The function must only read the file, and the file must not change while the function runs.
///
/// The file is read and hashed at each lookup, unless its digest can be cached. The digest is cached for files of more
/// than 64 KiB on ext2 to ext4, XFS, Btrfs and `SquashFS` on Linux that were last changed more than two seconds ago: on
/// these, each later change shows in the file's times or inode, even one through a shared mapping. On tmpfs, overlayfs,
/// network and FUSE file systems the file is read each time. The first lookup of a file writes back its pages
/// (`fdatasync`).
///
/// A relative path is resolved when the value is created, against the working directory at that time.
///
/// A call that is sent to another process carries the absolute path. The file must exist there under the same path with
/// the same content; otherwise the job is [`Rejected`](crate::JobError::Rejected), and no body runs.
///
/// ```
/// use fleche_core::{FileContent, fleche};
///
/// #[fleche]
/// fn lines(file: &FileContent) -> Result<usize, std::io::Error> {
///     Ok(std::fs::read_to_string(file)?.lines().count())
/// }
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("a.txt");
/// # std::fs::write(&path, "one\ntwo\n")?;
/// assert_eq!(lines(&FileContent::new(path))?, 2);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct FileContent(PathBuf);

impl FileContent {
    /// Creates a value for the file at this path, without accessing the file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        // Only an empty path, or a deleted working directory, has no absolute path: no file is found there.
        Self(std::path::absolute(&path).unwrap_or(path))
    }

    /// Returns the file's absolute path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the digest of the file's content.
    ///
    /// # Errors
    /// Fails with [`Error::Io`] if the file cannot be read.
    pub fn digest(&self) -> Result<Digest> {
        let digest = file_digests::digest_of(&self.0).map_err(Error::io("read", &self.0))?;
        known_files::add(digest, self.0.clone());
        Ok(digest)
    }
}

impl Deref for FileContent {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl AsRef<Path> for FileContent {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl<P: Into<PathBuf>> From<P> for FileContent {
    fn from(path: P) -> Self {
        Self::new(path)
    }
}

/// Compares the contents. A file that cannot be read equals no file, not even itself.
impl PartialEq for FileContent {
    fn eq(&self, other: &Self) -> bool {
        matches!((self.digest(), other.digest()), (Ok(left), Ok(right)) if left == right)
    }
}

impl Serialize for FileContent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let digest = self.digest().map_err(|error| ser::Error::custom(error.report()))?;
        known_files::record(&digest, &self.0);
        serializer.serialize_bytes(digest.as_bytes())
    }
}

impl<'de> Deserialize<'de> for FileContent {
    /// Finds a file that this process knows to hold this content.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Content;
        impl<'de> de::Visitor<'de> for Content {
            type Value = FileContent;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the digest of a file that this process has read: 32 bytes")
            }
            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<FileContent, E> {
                let digest = bytes.try_into().map_err(|_| E::invalid_length(bytes.len(), &self))?;
                let digest = Digest::from_bytes(digest);
                known_files::path_of(&digest).map(FileContent).map_err(E::custom)
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut bytes: A) -> Result<FileContent, A::Error> {
                let mut digest = [0; 32];
                for (at, byte) in digest.iter_mut().enumerate() {
                    *byte = bytes.next_element()?.ok_or_else(|| de::Error::invalid_length(at, &self))?;
                }
                self.visit_bytes(&digest)
            }
        }
        deserializer.deserialize_bytes(Content)
    }
}
