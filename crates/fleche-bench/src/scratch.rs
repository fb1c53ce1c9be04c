//! Directories for what is measured, which all go at the end: a file system may be slow at making files for some seconds
//! after others were removed (ext4 passes by what was removed lately), and the next benchmark would pay for it.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use tempfile::TempDir;

static ROOT: Mutex<Option<TempDir>> = Mutex::new(None);

/// A new, empty directory.
///
/// # Errors
/// Where none can be made.
pub(crate) fn directory() -> Result<PathBuf, String> {
    let said = |error: std::io::Error| format!("no directory for stores: {error}");
    let mut root = ROOT.lock().unwrap_or_else(PoisonError::into_inner);
    let root = match &*root {
        Some(root) => root,
        None => root.insert(tempfile::Builder::new().prefix("fleche-bench-").tempdir().map_err(said)?),
    };
    Ok(tempfile::tempdir_in(root.path()).map_err(said)?.keep())
}

/// Removes all of them.
///
/// # Errors
/// Where something stays.
pub(crate) fn remove() -> Result<(), String> {
    let root = ROOT.lock().unwrap_or_else(PoisonError::into_inner).take();
    root.map_or(Ok(()), TempDir::close).map_err(|error| format!("files of benchmarks are left: {error}"))
}
