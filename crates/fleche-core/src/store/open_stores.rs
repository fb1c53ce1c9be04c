//! The table of the stores that this process has open, through which opening a place twice returns the same store; and the
//! places of engines that can open a place only once.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, LazyLock, Mutex, Weak},
};

use crate::{
    error::{Error, Result},
    runtime::{
        fork::{self, ensure_not_forked},
        lock::LockResultExt,
        written_file,
    },
};

/// The stores of one kind that are open in this process, by identity. They are held weakly: a store is closed when its
/// last user drops it.
///
/// Opening the first store also installs the detection of [forked children](crate::spi::fork), and makes a write past
/// `ulimit -f` an error.
///
/// ```
/// use std::sync::Arc;
/// use fleche_core::store::OpenStores;
///
/// static OPEN: OpenStores<String, Vec<u8>> = OpenStores::new();
/// let first = OPEN.get_or_open("here".to_owned(), || Ok(Vec::new()))?;
/// let second = OPEN.get_or_open("here".to_owned(), || unreachable!("it is open"))?;
/// assert!(Arc::ptr_eq(&first, &second));
/// # Ok::<(), fleche_core::Error>(())
/// ```
// One lock around the whole table, rather than a `DashMap`: stores are opened rarely, one after the other, and the removal of
// closed stores goes through all entries.
#[derive(Debug)]
pub struct OpenStores<K, S>(LazyLock<Mutex<HashMap<K, Weak<S>>>>);

impl<K: Eq + Hash, S> OpenStores<K, S> {
    /// Creates an empty table, for a `static`.
    pub const fn new() -> Self {
        Self(LazyLock::new(Mutex::default))
    }

    /// Returns the open store with this identity, or opens one with `open`. No other store of this table is opened at
    /// the same time.
    ///
    /// # Errors
    /// Fails with the errors of `open`, which leave the table unchanged, and with [`Error::Forked`] in a [forked
    /// child](crate::spi::fork).
    pub fn get_or_open(&self, identity: K, open: impl FnOnce() -> Result<S>) -> Result<Arc<S>> {
        // Before the lock, which another thread of the parent may have held at the fork.
        ensure_not_forked(|| "a store")?;
        fork::watch();
        written_file::catch_size_limit_signal();
        let mut stores = self.0.lock().ignore_poison();
        if let Some(store) = stores.get(&identity).and_then(Weak::upgrade) {
            return Ok(store);
        }
        let store = Arc::new(open()?);
        stores.retain(|_, store| store.strong_count() > 0);
        stores.insert(identity, Arc::downgrade(&store));
        Ok(store)
    }
}

impl<K: Eq + Hash, S> Default for OpenStores<K, S> {
    fn default() -> Self {
        Self::new()
    }
}

/// The identity of the file or directory that a path leads to, regardless of its spelling: device and inode if the
/// system has them, else the canonical path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place(PlaceId);

#[cfg(unix)]
type PlaceId = (u64, u64);
#[cfg(not(unix))]
type PlaceId = PathBuf;

impl Place {
    /// Returns the identity of an existing file or directory.
    ///
    /// # Errors
    /// Fails with [`Error::Io`] if it does not exist or cannot be inspected.
    #[cfg(unix)]
    pub fn new(path: &Path) -> Result<Self> {
        use std::os::unix::fs::MetadataExt;
        let metadata = std::fs::metadata(path).map_err(Error::io("read the metadata of", path))?;
        Ok(Self((metadata.dev(), metadata.ino())))
    }

    /// Returns the identity of an existing file or directory.
    ///
    /// # Errors
    /// Fails with [`Error::Io`] if it does not exist or cannot be inspected.
    #[cfg(not(unix))]
    pub fn new(path: &Path) -> Result<Self> {
        std::fs::canonicalize(path).map(Self).map_err(Error::io("find the absolute path of", path))
    }

    /// Creates the directory and its missing parents. Returns its absolute path and its identity.
    ///
    /// # Errors
    /// Fails with [`Error::Io`] if the path is not a directory and cannot become one.
    pub fn create_directory(path: &Path) -> Result<(PathBuf, Self)> {
        let absolute = std::path::absolute(path).map_err(Error::io("find the absolute path of", path))?;
        std::fs::create_dir_all(&absolute).map_err(Error::io("create the directory", &absolute))?;
        let place = Self::new(&absolute)?;
        Ok((absolute, place))
    }
}

/// The exclusive right of this process to have a place open.
///
/// When the last handle of a store is dropped, the store may still be closing while another one is opened. A store that
/// declares this field after its engine, so that it is dropped later, can be opened again only when it is closed.
#[derive(Debug)]
pub struct OpenPlaceGuard(Place);

static OPEN_PLACES: (Mutex<Option<HashSet<Place>>>, Condvar) = (Mutex::new(None), Condvar::new());

impl OpenPlaceGuard {
    /// Takes the right to the place. Blocks while another holder in this process has it.
    pub fn take(place: Place) -> Self {
        let (held, released) = &OPEN_PLACES;
        let held = held.lock().ignore_poison();
        let is_held = |held: &mut Option<HashSet<Place>>| held.get_or_insert_default().contains(&place);
        let mut held = released.wait_while(held, is_held).ignore_poison();
        held.get_or_insert_default().insert(place.clone());
        Self(place)
    }
}

impl Drop for OpenPlaceGuard {
    fn drop(&mut self) {
        let (held, released) = &OPEN_PLACES;
        held.lock().ignore_poison().get_or_insert_default().remove(&self.0);
        released.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn place_has_one_holder_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::new(directory.path()).unwrap();
        let held = OpenPlaceGuard::take(place.clone());
        let other = thread::spawn(move || drop(OpenPlaceGuard::take(place)));
        assert!(!other.is_finished());
        drop(held);
        other.join().unwrap();
    }
}
