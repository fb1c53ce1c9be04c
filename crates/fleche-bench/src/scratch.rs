//! Temporary directories for the benchmarks, which are all removed at the end of the run.
//!
//! A file system may create files slowly for some seconds after others were removed (ext4 skips recently freed inodes), and
//! the next benchmark would measure that.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use tempfile::TempDir;

static ROOT: Mutex<Option<TempDir>> = Mutex::new(None);

/// Creates a new, empty directory.
///
/// # Errors
/// Fails if the directory cannot be created.
pub(crate) fn directory() -> Result<PathBuf, String> {
    let said = |error: std::io::Error| format!("cannot create a temporary directory: {error}");
    let mut root = ROOT.lock().unwrap_or_else(PoisonError::into_inner);
    let root = match &*root {
        Some(root) => root,
        None => root.insert(tempfile::Builder::new().prefix("fleche-bench-").tempdir().map_err(said)?),
    };
    Ok(tempfile::tempdir_in(root.path()).map_err(said)?.keep())
}

/// Removes all directories that [`directory`] has created.
///
/// # Errors
/// Fails if a file or directory cannot be removed.
pub(crate) fn remove() -> Result<(), String> {
    let root = ROOT.lock().unwrap_or_else(PoisonError::into_inner).take();
    root.map_or(Ok(()), TempDir::close).map_err(|error| format!("cannot remove the benchmarks' files: {error}"))
}
