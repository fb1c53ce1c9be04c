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

/// The copies beside a file.
pub(crate) struct Copies {
    /// Where there is none yet.
    free: PathBuf,
}

impl Copies {
    /// # Errors
    /// [`Error::Io`] if there are as many as may be.
    pub(crate) fn beside(file: &Path) -> Result<Self> {
        let mut names = (1..=COPIES).map(|nth| beside(file, &format!(".damaged-{nth}")));
        let free = names.find(|name| !name.exists() && !beside(name, "-wal").exists());
        let free = free.ok_or_else(|| {
            let why = format!("there are {COPIES} copies of it, from when it was damaged before: remove them");
            Error::io("keep the damaged file as", beside(file, &format!(".damaged-{COPIES}")))(io::Error::other(why))
        })?;
        Ok(Self { free })
    }

    /// Copies a copy, with its log.
    pub(crate) fn duplicate(&self, copy: &Path, to: &Path) -> Result<()> {
        fs::copy(copy, to).map_err(Error::io("copy the damaged file to", to))?;
        with_log(copy, to)
    }

    /// Keeps this copy, with its log. Where it is.
    pub(crate) fn keep(&self, copy: &Path) -> Result<PathBuf> {
        let moved = |from: &Path, to: &Path| fs::rename(from, to).map_err(Error::io("keep the damaged file as", to));
        let log = beside(copy, "-wal");
        if log.exists() {
            moved(&log, &beside(&self.free, "-wal"))?;
        }
        moved(copy, &self.free)?;
        Ok(self.free.clone())
    }
}

/// Copies the write-ahead log of a database to where it belongs to a copy of it, if there is one.
pub(crate) fn with_log(database: &Path, copy: &Path) -> Result<()> {
    let (from, to) = (beside(database, "-wal"), beside(copy, "-wal"));
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
