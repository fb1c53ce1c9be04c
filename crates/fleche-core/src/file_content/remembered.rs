//! Digests of files that were read, by what tells that a file is still the same.

use std::{
    collections::HashMap,
    fs::{self, File, Metadata},
    io,
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use crate::digest::Digest;

/// What tells that a file is still the same: its place, size and times.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Identity {
    #[cfg(unix)]
    inode: (u64, u64),
    #[cfg(unix)]
    changed: (i64, i64),
    #[cfg(not(unix))]
    path: PathBuf,
    size: u64,
    modified: SystemTime,
}

impl Identity {
    #[cfg_attr(unix, allow(unused_variables))]
    fn of(metadata: &Metadata, path: &Path) -> io::Result<Self> {
        #[cfg(unix)]
        use std::os::unix::fs::MetadataExt;
        Ok(Self {
            #[cfg(unix)]
            inode: (metadata.dev(), metadata.ino()),
            #[cfg(unix)]
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            #[cfg(not(unix))]
            path: path.to_owned(),
            size: metadata.len(),
            modified: metadata.modified()?,
        })
    }
}

#[derive(Default)]
struct Remembered {
    digests: HashMap<Identity, Digest>,
    paths: HashMap<Digest, PathBuf>,
}

/// More files than this, and what is remembered is forgotten; they are read again then.
const CAPACITY: usize = 10_000;

/// A file changed so shortly before it was read may change again within the same tick of its clock, unnoticed.
const SETTLED: Duration = Duration::from_secs(2);

static REMEMBERED: LazyLock<Mutex<Remembered>> = LazyLock::new(Mutex::default);

/// The digest of what the file holds, remembered or read.
pub(super) fn digest_of(path: &Path) -> io::Result<Digest> {
    let identity = Identity::of(&fs::metadata(path)?, path)?;
    let known = lock(|remembered| remembered.digests.get(&identity).copied());
    known.map_or_else(|| read(path), Ok)
}

fn read(path: &Path) -> io::Result<Digest> {
    let mut file = File::open(path)?;
    let before = Identity::of(&file.metadata()?, path)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(&mut file)?;
    let digest = Digest::from_bytes(*hasher.finalize().as_bytes());
    let unchanged = Identity::of(&file.metadata()?, path)? == before;
    let settled = before.modified.elapsed().is_ok_and(|age| age > SETTLED);
    let path = std::path::absolute(path)?;
    lock(|remembered| {
        if remembered.paths.len() >= CAPACITY || remembered.digests.len() >= CAPACITY {
            *remembered = Remembered::default();
        }
        remembered.paths.insert(digest, path);
        if unchanged && settled {
            remembered.digests.insert(before, digest);
        }
    });
    Ok(digest)
}

/// A file that was last seen to hold this content.
pub(super) fn path_of(digest: &Digest) -> Option<PathBuf> {
    lock(|remembered| remembered.paths.get(digest).cloned())
}

fn lock<R>(run: impl FnOnce(&mut Remembered) -> R) -> R {
    run(&mut REMEMBERED.lock().unwrap_or_else(PoisonError::into_inner))
}
