//! What the same files cost without fleche.

use std::{
    fs, io,
    path::Path,
    time::{Duration, Instant},
};

/// As many bytes as the record of a trivial call has, about.
const RECORD: [u8; 400] = [7; 400];

/// How long it takes to write so many files under another name and rename each, one after the other.
pub(super) fn write_files(directory: &Path, files: i64) -> Result<Duration, String> {
    let below = directory.join("peer");
    let write = || -> io::Result<Duration> {
        if below.exists() {
            fs::remove_dir_all(&below)?;
        }
        fs::create_dir(&below)?;
        let begun = Instant::now();
        for file in 0..files {
            let (unfinished, whole) = (below.join(format!("{file}.new")), below.join(file.to_string()));
            fs::write(&unfinished, RECORD)?;
            fs::rename(unfinished, whole)?;
        }
        Ok(begun.elapsed())
    };
    write().map_err(|error| format!("cannot write files: {error}"))
}

/// How long it takes to read the files that [`write_files`] has left.
pub(super) fn read_files(directory: &Path, files: i64) -> Result<Duration, String> {
    let below = directory.join("peer");
    let begun = Instant::now();
    for file in 0..files {
        let read = fs::read(below.join(file.to_string())).map_err(|error| format!("cannot read a file: {error}"))?;
        if read != RECORD {
            return Err("a file does not hold what was written".to_owned());
        }
    }
    Ok(begun.elapsed())
}
