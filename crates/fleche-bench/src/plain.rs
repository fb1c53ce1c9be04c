//! Measures writing and reading files without fleche.

use std::{
    cell::Cell,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// The content of a file, about as long as the record of a trivial call.
const RECORD: [u8; 400] = [7; 400];

/// The number of directories over which the file store distributes its entries.
const SHARDS: i64 = 256;

/// Files in as many directories as the file store uses, since the speed of creating files depends on it.
///
/// They stay from round to round.
pub(crate) struct Files {
    below: PathBuf,
    written: Cell<i64>,
}

impl Files {
    /// Creates the subdirectory `plain` of a directory, which may contain other files.
    pub(crate) fn new(directory: &Path) -> Result<Self, String> {
        let below = directory.join("plain");
        let make = |shard| fs::create_dir_all(below.join(format!("{shard:02x}")));
        (0..SHARDS).try_for_each(make).map_err(|error| format!("cannot create a directory for files: {error}"))?;
        Ok(Self { below, written: Cell::new(0) })
    }

    /// Measures writing this many new files one after the other, each under a temporary name that is then renamed.
    pub(crate) fn write(&self, files: i64) -> Result<Duration, String> {
        let from = self.written.replace(self.written.get() + files);
        let write = || -> io::Result<Duration> {
            let begun = Instant::now();
            for file in from..from + files {
                let whole = self.path(file);
                let unfinished = whole.with_extension("new");
                fs::write(&unfinished, RECORD)?;
                fs::rename(unfinished, whole)?;
            }
            Ok(begun.elapsed())
        };
        write().map_err(|error| format!("cannot write files: {error}"))
    }

    /// Measures reading this many of the files that were written last.
    pub(crate) fn read(&self, files: i64) -> Result<Duration, String> {
        let end = self.written.get();
        let begun = Instant::now();
        for file in end - files..end {
            let read = fs::read(self.path(file)).map_err(|error| format!("cannot read a file: {error}"))?;
            if read != RECORD {
                return Err("a file does not contain what was written".to_owned());
            }
        }
        Ok(begun.elapsed())
    }

    fn path(&self, file: i64) -> PathBuf {
        self.below.join(format!("{:02x}/{file:062x}", file % SHARDS))
    }
}
