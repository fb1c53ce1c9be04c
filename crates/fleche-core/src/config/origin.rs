//! Where the search for configuration files begins: the working directory, but never one that an isolated call has for
//! itself.

use std::{
    collections::BTreeMap,
    env, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::fork;

/// The working directories of isolated calls, and from where each was called.
static PRIVATE: Mutex<BTreeMap<PathBuf, PathBuf>> = Mutex::new(BTreeMap::new());

/// While it lives, a search that would begin in a private directory, whatever the thread, begins where the isolated call
/// was made.
#[derive(Debug)]
pub(crate) struct Elsewhere(PathBuf);

impl Elsewhere {
    /// For this private directory, by the path that the system gives it; called from this thread's working directory.
    pub(crate) fn new(private: PathBuf) -> Self {
        // Where the caller has no directory, a search finds none in the private one either.
        if !fork::is_child()
            && let Ok(caller) = directory()
        {
            lock().insert(private.clone(), caller);
        }
        Self(private)
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        if fork::is_child() {
            return;
        }
        lock().remove(&self.0);
    }
}

/// Where to begin on this thread: its working directory, or the one that the isolated call was made from.
pub fn directory() -> io::Result<PathBuf> {
    let here = env::current_dir()?;
    Ok(called_from(&here, &lock()).unwrap_or(here))
}

fn called_from(here: &Path, private: &BTreeMap<PathBuf, PathBuf>) -> Option<PathBuf> {
    here.ancestors().find_map(|directory| private.get(directory)).cloned()
}

fn lock() -> MutexGuard<'static, BTreeMap<PathBuf, PathBuf>> {
    PRIVATE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_below_a_private_directory_begins_where_the_call_was_made() {
        let private = BTreeMap::from([("/cache/cwd/1".into(), "/home/me".into())]);
        assert_eq!(called_from(Path::new("/cache/cwd/1/sub"), &private), Some("/home/me".into()));
        assert_eq!(called_from(Path::new("/cache/cwd/12"), &private), None);
    }
}
