//! What the same files cost without fleche.

use std::{
    cell::Cell,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// As many bytes as the record of a trivial call has, about.
const RECORD: [u8; 400] = [7; 400];

/// As many directories as the file store spreads its entries over.
const SHARDS: i64 = 256;

/// Files that nobody but this writes, spread over as many directories as those of the file store: how fast files are made
/// depends on where. They stay from round to round.
pub(crate) struct Files {
    below: PathBuf,
    written: Cell<i64>,
}

impl Files {
    /// Below this directory, which others use as well.
    pub(crate) fn new(directory: &Path) -> Result<Self, String> {
        let below = directory.join("plain");
        let make = |shard| fs::create_dir_all(below.join(format!("{shard:02x}")));
        (0..SHARDS).try_for_each(make).map_err(|error| format!("no directory for files: {error}"))?;
        Ok(Self { below, written: Cell::new(0) })
    }

    /// How long it takes to write so many more under another name and rename each, one after the other.
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

    /// How long it takes to read so many of those that were written last.
    pub(crate) fn read(&self, files: i64) -> Result<Duration, String> {
        let end = self.written.get();
        let begun = Instant::now();
        for file in end - files..end {
            let read = fs::read(self.path(file)).map_err(|error| format!("cannot read a file: {error}"))?;
            if read != RECORD {
                return Err("a file does not hold what was written".to_owned());
            }
        }
        Ok(begun.elapsed())
    }

    fn path(&self, file: i64) -> PathBuf {
        self.below.join(format!("{:02x}/{file:062x}", file % SHARDS))
    }
}
