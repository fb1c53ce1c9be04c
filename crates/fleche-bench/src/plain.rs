//! What the same files cost without fleche.

use std::{
    cell::Cell,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// As many bytes as the record of a trivial call has, about.
const RECORD: [u8; 400] = [7; 400];

/// Files that nobody but this writes. Each round's stay: a file system may be slow at making files shortly after others
/// were removed, and everybody else here would pay for it.
pub(crate) struct Files {
    below: PathBuf,
    rounds: Cell<usize>,
}

impl Files {
    /// Below this directory, which others use as well.
    pub(crate) fn new(directory: &Path) -> Self {
        Self { below: directory.join("plain"), rounds: Cell::new(0) }
    }

    /// How long it takes to write so many under another name and rename each, one after the other.
    pub(crate) fn write(&self, files: i64) -> Result<Duration, String> {
        self.rounds.set(self.rounds.get() + 1);
        let written = self.round();
        let write = || -> io::Result<Duration> {
            fs::create_dir_all(&written)?;
            let begun = Instant::now();
            for file in 0..files {
                let (unfinished, whole) = (written.join(format!("{file}.new")), written.join(file.to_string()));
                fs::write(&unfinished, RECORD)?;
                fs::rename(unfinished, whole)?;
            }
            Ok(begun.elapsed())
        };
        write().map_err(|error| format!("cannot write files: {error}"))
    }

    /// How long it takes to read the files that [`write`](Self::write) has left in the last round.
    pub(crate) fn read(&self, files: i64) -> Result<Duration, String> {
        let written = self.round();
        let begun = Instant::now();
        for file in 0..files {
            let read =
                fs::read(written.join(file.to_string())).map_err(|error| format!("cannot read a file: {error}"))?;
            if read != RECORD {
                return Err("a file does not hold what was written".to_owned());
            }
        }
        Ok(begun.elapsed())
    }

    fn round(&self) -> PathBuf {
        self.below.join(self.rounds.get().to_string())
    }
}
