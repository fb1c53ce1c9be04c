//! Copies of damaged files, which somebody may want to look at.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use fleche_core::{Error, Result};

/// So many copies of one file are kept.
const COPIES: u32 = 4;

/// Where a copy of this file may be kept.
///
/// # Errors
/// [`Error::Io`] if there are as many as may be.
pub(crate) fn free_place(file: &Path) -> Result<PathBuf> {
    let mut places = (1..=COPIES).map(|nth| beside(file, &format!(".damaged-{nth}")));
    let free = places.find(|place| !place.exists() && !beside(place, "-wal").exists());
    free.ok_or_else(|| {
        let why = format!("{COPIES} copies are there from when it was damaged before: remove them");
        Error::io("keep the damaged file as", beside(file, ".damaged-N"))(io::Error::other(why))
    })
}

/// Copies a database that nobody has open, with its log.
pub(crate) fn duplicate(database: &Path, to: &Path) -> Result<()> {
    fs::copy(database, to).map_err(Error::io("copy the damaged file to", to))?;
    with_log(database, to)
}

/// Moves a copy, with its log, to where it is kept.
pub(crate) fn keep(copy: &Path, place: &Path) -> Result<()> {
    let moved = |from: &Path, to: &Path| fs::rename(from, to).map_err(Error::io("keep the damaged file as", to));
    let log = beside(copy, "-wal");
    if log.exists() {
        moved(&log, &beside(place, "-wal"))?;
    }
    moved(copy, place)?;
    // So that it does not vanish in a power failure. Where that cannot be done, nothing is lost but that.
    let _ = place.parent().map(|directory| File::open(directory).and_then(|directory| directory.sync_all()));
    Ok(())
}

/// Copies the write-ahead log of a database to where it belongs to a copy of it, if there is anything in it.
pub(crate) fn with_log(database: &Path, copy: &Path) -> Result<()> {
    let (from, to) = (beside(database, "-wal"), beside(copy, "-wal"));
    if fs::metadata(&from).is_ok_and(|log| log.len() == 0) {
        return Ok(());
    }
    match fs::copy(from, &to).and_then(|_| File::open(&to)?.sync_all()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("copy the damaged log to", to)(error)),
        _ => Ok(()),
    }
}

/// The path with this at its end.
pub(crate) fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(end);
    name.into()
}
