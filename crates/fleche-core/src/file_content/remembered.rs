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

impl Identity {
    /// Whether the file was last changed so long ago that another change would show. A modification time can be set
    /// back, the time of the change itself cannot.
    fn is_settled(&self) -> bool {
        #[cfg(unix)]
        let changed = u64::try_from(self.changed.0)
            .map_or(self.modified, |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.saturating_add(1)));
        #[cfg(not(unix))]
        let changed = self.modified;
        [self.modified, changed].iter().all(|moment| moment.elapsed().is_ok_and(|age| age > SETTLED))
    }
}

#[derive(Default)]
struct Remembered {
    digests: HashMap<Identity, Digest>,
    /// Where content was seen, each place once.
    paths: HashMap<Digest, Vec<PathBuf>>,
}

/// More digests than this, and they are forgotten; the files are read again then. Paths are kept: calls that were bound
/// need them.
const CAPACITY: usize = 100_000;

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
    // Opening a pipe would wait for its writer, and some devices never end.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut file = File::open(path)?;
    let before = Identity::of(&file.metadata()?, path)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(&mut file)?;
    let digest = Digest::from_bytes(*hasher.finalize().as_bytes());
    let unchanged = Identity::of(&file.metadata()?, path)? == before;
    let settled = before.is_settled();
    let path = std::path::absolute(path)?;
    lock(|remembered| {
        if remembered.digests.len() >= CAPACITY {
            remembered.digests.clear();
        }
        add(remembered, digest, path);
        if unchanged && settled {
            remembered.digests.insert(before, digest);
        }
    });
    Ok(digest)
}

/// A file that holds this content now, among those that were seen to, here or in the process that the call comes from.
///
/// # Errors
/// What to look at, where there is none.
pub(super) fn path_of(digest: &Digest) -> Result<PathBuf, String> {
    let paths = lock(|remembered| remembered.paths.get(digest).cloned()).unwrap_or_default();
    let holds = |path: &PathBuf| digest_of(path).is_ok_and(|found| found == *digest);
    let Some(last) = paths.last().cloned() else {
        return Err(format!("this process knows of no file whose content has the digest {digest}"));
    };
    paths.into_iter().find(holds).ok_or_else(|| {
        let why = match digest_of(&last) {
            Ok(_) => "has changed since the call was made".to_owned(),
            Err(error) => format!("cannot be read: {error}"),
        };
        format!("the file {} {why}; its content had the digest {digest}", last.display())
    })
}

/// Somebody else has seen this file hold this content.
pub(super) fn was_seen(digest: Digest, path: PathBuf) {
    lock(|remembered| add(remembered, digest, path));
}

/// As the last of its places.
fn add(remembered: &mut Remembered, digest: Digest, path: PathBuf) {
    let paths = remembered.paths.entry(digest).or_default();
    paths.retain(|known| *known != path);
    paths.push(path);
}

fn lock<R>(run: impl FnOnce(&mut Remembered) -> R) -> R {
    run(&mut REMEMBERED.lock().unwrap_or_else(PoisonError::into_inner))
}
