//! `Directory`: a directory of entries, the state that all its handles in this process share, and listing its entries shard
//! by shard.

use std::{
    collections::HashSet,
    fs::File,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use fleche_core::{
    Digest, DigestPrefix, Error, Result,
    store::{
        Entries,
        kit::{FileBacked, LockResultExt as _, OpenDatabase, OpenStores, Place, StoreName},
    },
};

#[cfg(unix)]
use crate::claims::Claims;
use crate::{
    clock::FileClock,
    error::other_kind,
    temp_files::{create_directory, visit},
};

/// A directory of entries, in 256 shards: subdirectories named for the first byte of the digest.
pub(crate) struct Directory {
    pub(crate) root: PathBuf,
    name: StoreName,
    pub(crate) kind: Kind,
    /// The shards from which this process has removed the files that killed writers left behind.
    pub(crate) swept_shards: ShardSet,
    /// The shards whose names in the root directory are known to survive a power failure.
    pub(crate) synced_shards: ShardSet,
    /// Whether this process has tried to make the root directory itself survive a power failure.
    pub(crate) ancestors_synced: AtomicBool,
    later_records: Mutex<HashSet<Digest>>,
    pub(crate) clock: FileClock,
    #[cfg(unix)]
    pub(crate) claims: Claims,
    // An open directory keeps its inode number, by which the table of open stores identifies it.
    _open: Option<File>,
}

/// The kind of the entries in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Values,
    Calls,
}

static VALUES: OpenStores<Place, Directory> = OpenStores::new();
static CALLS: OpenStores<Place, Directory> = OpenStores::new();

impl Directory {
    /// Opens this directory, creating what is missing, or returns the handle that this process has open.
    pub(crate) fn open(root: &Path, kind: Kind, shared: bool) -> Result<Arc<Self>> {
        if shared && !root.exists() {
            create_directory(root, shared).map_err(Error::io("create the directory", root))?;
        }
        let (root, place) = Place::create_directory(root)?;
        let open = match kind {
            Kind::Values => &VALUES,
            Kind::Calls => &CALLS,
        };
        open.get_or_open(place, || {
            write_marker(&root, kind)?;
            Ok(Self {
                _open: File::open(&root).ok(),
                name: StoreName::new("file store", root.display()),
                clock: FileClock::new(&root),
                root,
                kind,
                swept_shards: ShardSet::default(),
                synced_shards: ShardSet::default(),
                ancestors_synced: AtomicBool::default(),
                later_records: Mutex::default(),
                #[cfg(unix)]
                claims: Claims::default(),
            })
        })
    }

    /// Returns the keys under which this process has found records of a later format.
    pub(crate) fn later_records(&self) -> MutexGuard<'_, HashSet<Digest>> {
        self.later_records.lock().ignore_poison()
    }

    /// Returns the path of the entry with this digest.
    pub(crate) fn path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.to_hex();
        let (shard, name) = hex.as_ref().split_at(2);
        let mut path = PathBuf::with_capacity(self.root.as_os_str().len() + hex.as_ref().len() + 2);
        path.extend([self.root.as_path(), Path::new(shard), Path::new(name)]);
        path
    }

    /// Returns the directory of the entries whose digests begin with this byte.
    pub(crate) fn shard(&self, first: u8) -> PathBuf {
        self.root.join(format!("{first:02x}"))
    }
}

/// A directory that was removed is created again by the next write.
impl FileBacked for Directory {}

impl OpenDatabase for Directory {
    fn name(&self) -> &StoreName {
        &self.name
    }
}

impl Kind {
    fn marker(self) -> &'static str {
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

// In a directory that holds both kinds, collecting unreferenced values would remove the records.
fn write_marker(root: &Path, kind: Kind) -> Result<()> {
    let other = if kind == Kind::Values { Kind::Calls } else { Kind::Values };
    if root.join(other.marker()).exists() {
        return Err(other_kind(root, other.name(), kind.name()));
    }
    // A store that cannot be written to can still be read.
    let _ = File::create_new(root.join(kind.marker()));
    Ok(())
}

/// A set of shards that several threads may add to.
#[derive(Default)]
pub(crate) struct ShardSet([AtomicU64; 4]);

impl ShardSet {
    /// Adds the shard. Returns whether it was not in the set before.
    pub(crate) fn insert(&self, first: u8) -> bool {
        let bit = 1 << (first % 64);
        let word = &self.0[usize::from(first / 64)];
        word.load(Ordering::Relaxed) & bit == 0 && word.fetch_or(bit, Ordering::Relaxed) & bit == 0
    }

    /// Returns whether the shard is in the set.
    pub(crate) fn contains(&self, first: u8) -> bool {
        self.0[usize::from(first / 64)].load(Ordering::Relaxed) & (1 << (first % 64)) != 0
    }
}

impl Directory {
    /// Returns the digests with this prefix, each once. A shard is read only when iteration reaches it.
    pub(crate) fn list(&self, prefix: &DigestPrefix) -> Entries<'_, Digest> {
        let digits: String = prefix.as_str().chars().take(2).collect();
        let prefix = prefix.clone();
        let shards = (0..=u8::MAX).filter(move |first| format!("{first:02x}").starts_with(&digits));
        Box::new(shards.flat_map(move |first| match self.list_shard(first) {
            Ok(digests) => {
                let prefix = prefix.clone();
                Box::new(digests.into_iter().filter(move |digest| prefix.matches(digest)).map(Ok))
            }
            Err(error) => Box::new(std::iter::once(Err(error))) as Entries<'_, Digest>,
        }))
    }

    // The whole shard is read before its first digest is returned: if a directory is read in pieces while entries are
    // created and removed, it may list one of them twice.
    fn list_shard(&self, first: u8) -> Result<Vec<Digest>> {
        let directory = self.shard(first);
        let mut digests = Vec::new();
        self.swept_shards.insert(first);
        let listed = visit(&directory, |name, entry| {
            let is_entry = || entry.file_type().is_ok_and(|kind| kind.is_file() || kind.is_symlink());
            if let Ok(digest) = format!("{first:02x}{name}").parse()
                && is_entry()
            {
                digests.push(digest);
            }
        });
        listed.map_err(Error::io("list", directory))?;
        digests.sort_unstable();
        digests.dedup();
        Ok(digests)
    }
}

#[cfg(test)]
mod tests {
    use super::ShardSet;

    #[test]
    fn shard_is_inserted_once() {
        let set = ShardSet::default();
        for shard in 0..=u8::MAX {
            assert!(!set.contains(shard));
            assert!(set.insert(shard));
            assert!(!set.insert(shard));
            assert!(set.contains(shard));
        }
    }
}
