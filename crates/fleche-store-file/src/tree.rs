//! `Tree`: a directory of entries, and the state that all handles to it in this process share.

use std::{
    collections::HashSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use fleche_core::{
    Digest, Error, Result,
    store::{OpenStores, Place},
};

#[cfg(unix)]
use crate::claims::Claims;
use crate::error::other_kind;

/// A directory of entries, in 256 shards: directories that are named by the first byte of the digest.
pub(crate) struct Tree {
    pub(crate) root: PathBuf,
    pub(crate) kind: Kind,
    /// The shards of which this process has removed what killed writers left.
    pub(crate) swept: ShardSet,
    /// The shards that are known to be in the root directory even after a power failure.
    pub(crate) anchored: ShardSet,
    /// Whether this process has done what it can for the root directory itself to survive one.
    pub(crate) root_anchored: AtomicBool,
    later: Mutex<HashSet<Digest>>,
    #[cfg(unix)]
    pub(crate) claims: Claims,
    // Open, so that no other directory gets this one's inode number, by which the table of open stores knows it.
    _held: Option<File>,
}

/// What the entries of a tree are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Values,
    Calls,
}

static VALUES: OpenStores<Place, Tree> = OpenStores::new();
static CALLS: OpenStores<Place, Tree> = OpenStores::new();

impl Tree {
    /// Opens the tree in this directory, creating what is missing; the open one, if this process has it open.
    pub(crate) fn open(root: &Path, kind: Kind, shared: bool) -> Result<Arc<Self>> {
        if shared && !root.exists() {
            create_directory(root, shared).map_err(Error::io("create the directory", root))?;
        }
        let (root, place) = Place::of_directory(root)?;
        let open = match kind {
            Kind::Values => &VALUES,
            Kind::Calls => &CALLS,
        };
        open.get_or_open(place, || {
            mark(&root, kind)?;
            Ok(Self {
                _held: File::open(&root).ok(),
                root,
                kind,
                swept: ShardSet::default(),
                anchored: ShardSet::default(),
                root_anchored: AtomicBool::default(),
                later: Mutex::default(),
                #[cfg(unix)]
                claims: Claims::default(),
            })
        })
    }

    /// The keys under which this process has met records of a later format.
    pub(crate) fn later(&self) -> MutexGuard<'_, HashSet<Digest>> {
        self.later.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file of the entry with this digest.
    pub(crate) fn path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.to_hex();
        let (shard, name) = hex.as_ref().split_at(2);
        let mut path = PathBuf::with_capacity(self.root.as_os_str().len() + hex.as_ref().len() + 2);
        path.extend([self.root.as_path(), Path::new(shard), Path::new(name)]);
        path
    }

    /// The directory of the entries whose digests begin with this byte.
    pub(crate) fn shard(&self, first: u8) -> PathBuf {
        self.root.join(format!("{first:02x}"))
    }
}

impl Kind {
    fn mark(self) -> &'static str {
        match self {
            Self::Values => ".fleche-values",
            Self::Calls => ".fleche-calls",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Values => "values",
            Self::Calls => "calls",
        }
    }
}

// A collector of unreferenced values in a directory that holds records too would remove the records.
fn mark(root: &Path, kind: Kind) -> Result<()> {
    let other = if kind == Kind::Values { Kind::Calls } else { Kind::Values };
    if root.join(other.mark()).exists() {
        return Err(other_kind(root, other.name(), kind.name()));
    }
    // Where nothing can be written the store can still be read.
    let _ = File::create_new(root.join(kind.mark()));
    Ok(())
}

/// Creates a directory of the store, and those above it where they are missing. In a shared store the group may write to it.
pub(crate) fn create_directory(path: &Path, shared: bool) -> io::Result<()> {
    fs::create_dir_all(path)?;
    #[cfg(unix)]
    if shared {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(path)?.permissions().mode() & 0o7777;
        // A directory of another user can be shared only by its owner.
        let _ = fs::set_permissions(path, fs::Permissions::from_mode(mode | 0o070));
    }
    #[cfg(not(unix))]
    let _ = shared;
    Ok(())
}

/// A set of shards, to which threads may add.
#[derive(Default)]
pub(crate) struct ShardSet([AtomicU64; 4]);

impl ShardSet {
    /// Whether the shard was not in the set before; it is now.
    pub(crate) fn insert(&self, first: u8) -> bool {
        let bit = 1 << (first % 64);
        let word = &self.0[usize::from(first / 64)];
        word.load(Ordering::Relaxed) & bit == 0 && word.fetch_or(bit, Ordering::Relaxed) & bit == 0
    }

    /// Whether the shard is in the set.
    pub(crate) fn contains(&self, first: u8) -> bool {
        self.0[usize::from(first / 64)].load(Ordering::Relaxed) & (1 << (first % 64)) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::ShardSet;

    #[test]
    fn a_shard_is_new_to_a_set_once() {
        let set = ShardSet::default();
        for shard in 0..=u8::MAX {
            assert!(!set.contains(shard));
            assert!(set.insert(shard));
            assert!(!set.insert(shard));
            assert!(set.contains(shard));
        }
    }
}
