//! Computes digests of files, and caches them where a later change of the file must show in its metadata.
//!
//! A write through `write(2)` changes the file's times. A store through a shared mapping changes them only if the page
//! was clean before. So a digest is cached only if, in this order,
//!
//! 1. the file's times were read and are old enough ([`SETTLED_AGE`]) that any later change results in different times,
//! 2. all its pages were written back, which write-protects them in every mapping: the next store to any of them faults,
//!    and the fault sets the times,
//! 3. the file was read, and its metadata are still those of step 1,
//!
//! and only on file systems that are known to set the times in that fault (ext2 to ext4, XFS, Btrfs), or whose files
//! never change (`SquashFS`). tmpfs does not set them, network and FUSE file systems learn of changes late, and overlayfs
//! may be backed by any of these. Elsewhere, and on systems other than Linux, the file is read each time.

#[cfg(target_os = "linux")]
pub(super) use linux::digest_of;

use std::{borrow::Borrow, collections::HashMap, fs::File, hash::Hash, io, mem, path::Path};

use crate::digest::Digest;

/// Reads the file and returns the digest of its content.
#[cfg(not(target_os = "linux"))]
pub(super) fn digest_of(path: &Path) -> io::Result<Digest> {
    hash(&open(path)?)
}

/// Opens a regular file. Anything else is refused, without blocking on a pipe whose other end is not open.
fn open(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits());
    }
    let file = options.read(true).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    Ok(file)
}

fn hash(file: &File) -> io::Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file)?;
    Ok(Digest::from_bytes(*hasher.finalize().as_bytes()))
}

/// A map of bounded size that drops its least recently used entries. It holds two generations of entries; when the young one is full, the old one is dropped.
// One lock guards it, rather than the shards of a `DashMap`: it forgets a whole generation at once, and looking a file up takes
// less than opening the file.
#[derive(Debug)]
pub(super) struct RecentMap<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    /// The number of entries that one generation holds.
    capacity: usize,
}

impl<K: Eq + Hash, V> RecentMap<K, V> {
    /// Creates a map of at most twice this many entries.
    pub(super) fn new(capacity: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), capacity }
    }

    /// Returns the entry, if there is one, and moves it to the young generation.
    pub(super) fn get<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        if !self.young.contains_key(key) {
            let (key, value) = self.old.remove_entry(key)?;
            self.insert(key, value);
        }
        self.young.get_mut(key)
    }

    /// Adds the entry, or replaces the existing one of this key.
    pub(super) fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= self.capacity && !self.young.contains_key(&key) {
            self.old = mem::take(&mut self.young);
        }
        self.old.remove(&key);
        self.young.insert(key, value);
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        fs::{self, File, Metadata},
        io,
        os::unix::fs::MetadataExt,
        path::Path,
        sync::{LazyLock, Mutex},
        time::{Duration, SystemTime},
    };

    use nix::sys::statfs::{BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, FsType, XFS_SUPER_MAGIC, fstatfs};

    use super::{RecentMap, hash, open};
    use crate::{
        digest::Digest,
        runtime::{fork, lock::LockResultExt},
    };

    /// The maximum size, in bytes, of files that are read each time, which takes no longer than writing them back once.
    const UNCACHED_LEN: u64 = 64 << 10;

    /// The age below which the times of a file do not distinguish two changes, because file systems count in ticks of
    /// up to a second.
    const SETTLED_AGE: Duration = Duration::from_secs(2);

    /// The number of digests that one generation of the cache holds.
    const CAPACITY: usize = 16 << 10;

    /// The magic number of `SquashFS`, which is always read-only.
    const SQUASHFS_MAGIC: FsType = FsType(0x7371_7368);

    static CACHED_DIGESTS: LazyLock<Mutex<RecentMap<Identity, Digest>>> =
        LazyLock::new(|| Mutex::new(RecentMap::new(CAPACITY)));

    /// Returns the digest of the file's content, from the cache or by reading the file.
    pub(in super::super) fn digest_of(path: &Path) -> io::Result<Digest> {
        let metadata = fs::metadata(path)?;
        if metadata.len() > UNCACHED_LEN
            && let Some(digest) = recall(&Identity::new(&metadata))
        {
            return Ok(digest);
        }
        let file = open(path)?;
        // The clock is read first, so that a change in between does not look older than it is.
        let now = SystemTime::now();
        let identity = Identity::new(&file.metadata()?);
        let is_cacheable = identity.size > UNCACHED_LEN && identity.is_settled(now) && write_back(&file);
        let digest = hash(&file)?;
        if is_cacheable && Identity::new(&file.metadata()?) == identity {
            lock(|digests| digests.insert(identity, digest));
        }
        Ok(digest)
    }

    fn recall(identity: &Identity) -> Option<Digest> {
        lock(|digests| digests.get(identity).copied())
    }

    fn lock<R>(run: impl FnOnce(&mut RecentMap<Identity, Digest>) -> R) -> R {
        // Another thread of the parent may have held the lock when this process was forked.
        if fork::is_child() {
            return run(&mut RecentMap::new(1));
        }
        run(&mut CACHED_DIGESTS.lock().ignore_poison())
    }

    /// Identifies a file and its state: device, inode, size and times.
    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    struct Identity {
        inode: (u64, u64),
        size: u64,
        modified: (i64, i64),
        /// The time of the last change of the inode. Unlike `modified`, programs cannot set it.
        changed: (i64, i64),
    }

    impl Identity {
        fn new(metadata: &Metadata) -> Self {
            Self {
                inode: (metadata.dev(), metadata.ino()),
                size: metadata.size(),
                modified: (metadata.mtime(), metadata.mtime_nsec()),
                changed: (metadata.ctime(), metadata.ctime_nsec()),
            }
        }

        /// Returns whether a change from `now` on would give the file different times.
        fn is_settled(&self, now: SystemTime) -> bool {
            [self.modified, self.changed].into_iter().all(|(seconds, _)| {
                // A second more, for the fraction that is left out. Times before 1970 are old enough.
                let moment = SystemTime::UNIX_EPOCH
                    + Duration::from_secs(u64::try_from(seconds).unwrap_or_default().saturating_add(1));
                now.duration_since(moment).is_ok_and(|age| age >= SETTLED_AGE)
            })
        }
    }

    /// Writes back the file's dirty pages. Returns whether every later change will show in the file's times.
    fn write_back(file: &File) -> bool {
        let Ok(found) = fstatfs(file) else { return false };
        match found.filesystem_type() {
            EXT4_SUPER_MAGIC | XFS_SUPER_MAGIC | BTRFS_SUPER_MAGIC => file.sync_data().is_ok(),
            kind => kind == SQUASHFS_MAGIC,
        }
    }

    #[cfg(test)]
    mod tests {
        use std::thread;

        use super::*;

        fn identity(path: &Path) -> Identity {
            Identity::new(&fs::metadata(path).unwrap())
        }

        #[test]
        fn digest_of_settled_file_is_cached_if_changes_are_detectable() {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("file");
            let content = vec![1; 1 << 17];
            fs::write(&path, &content).unwrap();
            let before = SystemTime::now();
            assert_eq!(digest_of(&path).unwrap(), Digest::hash(&content));
            let known = identity(&path);
            // Holds unless this thread was suspended for that long after it wrote the file.
            if !known.is_settled(SystemTime::now()) {
                assert_eq!(recall(&known), None);
            }
            while !known.is_settled(SystemTime::now()) && before.elapsed().is_ok_and(|waited| waited < 5 * SETTLED_AGE)
            {
                thread::park_timeout(Duration::from_millis(50));
            }
            assert_eq!(digest_of(&path).unwrap(), Digest::hash(&content));
            let shows = write_back(&File::open(&path).unwrap());
            assert_eq!(recall(&known), shows.then(|| Digest::hash(&content)));
        }

        #[test]
        fn digests_on_tmpfs_and_of_small_files_are_not_cached() {
            assert!(!File::open("/dev/shm").is_ok_and(|file| write_back(&file)));
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("small");
            for content in ["a", "b"] {
                fs::write(&path, content).unwrap();
                assert_eq!(digest_of(&path).unwrap(), Digest::hash(content.as_bytes()));
                assert_eq!(recall(&identity(&path)), None);
            }
        }

        #[test]
        fn file_modified_in_the_future_is_not_settled() {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("file");
            let now = SystemTime::now();
            File::create(&path).unwrap().set_modified(now + Duration::from_hours(1)).unwrap();
            assert!(!identity(&path).is_settled(now + 2 * SETTLED_AGE));
            assert!(identity(&path).is_settled(now + Duration::from_hours(2)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_is_bounded_and_recently_used_entries_stay() {
        let mut recent = RecentMap::new(10);
        recent.insert(0, 0);
        for key in 1..1000 {
            recent.insert(key, key);
            assert_eq!(recent.get(&0), Some(&mut 0));
            assert!(recent.young.len() <= 10 && recent.old.len() <= 10);
        }
        assert_eq!(recent.get(&999), Some(&mut 999));
        assert_eq!(recent.get(&500), None);
    }

    #[test]
    fn insert_replaces_entry_in_the_old_generation() {
        let mut recent = RecentMap::new(1);
        recent.insert('a', 1);
        recent.insert('b', 1);
        recent.insert('a', 2);
        recent.insert('c', 1);
        assert_eq!(recent.get(&'a'), Some(&mut 2));
    }
}
