//! Copies of damaged files, which users may want to inspect.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use fleche_core::{Error, Result};

/// The maximum number of copies of one file.
const COPIES: u32 = 4;

/// Returns a free path for a copy of this file.
///
/// # Errors
/// Fails with [`Error::Io`] if the maximum number of copies exists.
pub(crate) fn free_path(file: &Path) -> Result<PathBuf> {
    let mut paths = (1..=COPIES).map(|nth| beside(file, &format!(".damaged-{nth}")));
    let free = paths.find(|path| !path.exists() && !beside(path, "-wal").exists());
    free.ok_or_else(|| {
        let why = format!("{COPIES} copies of earlier damage are kept already: remove them");
        Error::io("keep the damaged file as", beside(file, ".damaged-N"))(io::Error::other(why))
    })
}

/// Copies a database that no process has open, with its log.
pub(crate) fn copy_database(database: &Path, to: &Path) -> Result<()> {
    fs::copy(database, to).map_err(Error::io("copy the damaged file to", to))?;
    copy_log(database, to)
}

/// Moves a copy, with its log, to its final path.
pub(crate) fn back_up(copy: &Path, path: &Path) -> Result<()> {
    let moved = |from: &Path, to: &Path| fs::rename(from, to).map_err(Error::io("keep the damaged file as", to));
    let log = beside(copy, "-wal");
    if log.exists() {
        moved(&log, &beside(path, "-wal"))?;
    }
    moved(copy, path)?;
    // Makes the copy survive a power failure, as far as possible.
    let _ = path.parent().map(|directory| File::open(directory).and_then(|directory| directory.sync_all()));
    Ok(())
}

/// Copies the write-ahead log of a database, unless it is empty, to the log of the copy.
pub(crate) fn copy_log(database: &Path, copy: &Path) -> Result<()> {
    let (from, to) = (beside(database, "-wal"), beside(copy, "-wal"));
    if fs::metadata(&from).is_ok_and(|log| log.len() == 0) {
        return Ok(());
    }
    match fs::copy(from, &to).and_then(|_| File::open(&to)?.sync_all()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("copy the damaged log to", to)(error)),
        _ => Ok(()),
    }
}

/// Returns the path with this suffix.
pub(crate) fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(end);
    name.into()
}
