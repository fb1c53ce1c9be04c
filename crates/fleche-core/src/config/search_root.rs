//! The directory where the search for configuration files begins: the working directory, unless it is the private one
//! of an isolated call.

use std::{
    collections::BTreeMap,
    env, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::runtime::fork;

/// The working directories of isolated calls, each with the directory from which the call was made.
static PRIVATE: Mutex<BTreeMap<PathBuf, PathBuf>> = Mutex::new(BTreeMap::new());

/// While this exists, a search that would begin in a private directory, on any thread, begins where the isolated call
/// was made.
#[derive(Debug)]
pub(crate) struct SearchRootOverride(PathBuf);

impl SearchRootOverride {
    /// Registers this private directory, given by its canonical path. Must be called on the thread that makes the
    /// isolated call.
    pub(crate) fn new(private: PathBuf) -> Self {
        // If the caller has no working directory, the search finds nothing in the private one either.
        if !fork::is_child()
            && let Ok(caller) = directory()
        {
            lock().insert(private.clone(), caller);
        }
        Self(private)
    }
}

impl Drop for SearchRootOverride {
    fn drop(&mut self) {
        if fork::is_child() {
            return;
        }
        lock().remove(&self.0);
    }
}

/// Returns where this thread's search begins: its working directory, or the one from which the isolated call was made.
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
    fn search_in_a_private_directory_begins_where_the_call_was_made() {
        let private = BTreeMap::from([("/cache/cwd/1".into(), "/home/me".into())]);
        assert_eq!(called_from(Path::new("/cache/cwd/1/sub"), &private), Some("/home/me".into()));
        assert_eq!(called_from(Path::new("/cache/cwd/12"), &private), None);
    }
}
