//! Writes entries under a temporary name, then renames them.

use std::{
    fs::{self, File, Metadata},
    io::{self, ErrorKind, Write},
    path::Path,
    time::SystemTime,
};

use fleche_core::{Digest, Error, Result, written_file};

use crate::{
    config::Durability,
    directory::{Directory, create_directory},
    durability::sync_file,
    list::sweep,
    read::open_itself,
    temp_files::TempFile,
};

/// The number of times that an entry is written if its temporary file vanishes before it is renamed.
const ATTEMPTS: usize = 3;

impl Directory {
    /// Writes the entry, replacing any file that has its name.
    pub(crate) fn write(&self, digest: &Digest, bytes: &[u8], durability: Durability, shared: bool) -> Result<()> {
        let path = self.path(digest);
        let mut attempt = 1;
        loop {
            match self.try_write(digest, &path, bytes, durability, shared) {
                // Another process considered this one dead, for example because it was suspended for a day, or removed
                // the directory.
                Err(error) if error.kind() == ErrorKind::NotFound && attempt < ATTEMPTS => attempt += 1,
                written => return written.map_err(Error::io("write", path)),
            }
        }
    }

    fn try_write(
        &self,
        digest: &Digest,
        path: &Path,
        bytes: &[u8],
        durability: Durability,
        shared: bool,
    ) -> io::Result<()> {
        written_file::check_limit(bytes.len() as u64)?;
        let temporary = path.with_file_name(TempFile::Write.name());
        let (file, created) = create(&temporary, shared)?;
        let written = fill(file, bytes, durability).and_then(|()| fs::rename(&temporary, path));
        if written.is_err() {
            // The first error is reported.
            let _ = fs::remove_file(&temporary);
        }
        written?;
        let first = digest.as_bytes()[0];
        if self.swept.insert(first) && !created {
            sweep(&self.shard(first));
        }
        if durability == Durability::Always { self.anchor(first) } else { Ok(()) }
    }

    /// Resets the age of an entry of this length. Returns `false` if there is none, or if that fails; the entry must be
    /// written then.
    pub(crate) fn refresh(&self, digest: &Digest, length: usize, durability: Durability) -> Result<bool> {
        let path = self.path(digest);
        // An open file, so that the checked file is the one whose time is set.
        let Ok(file) = open_itself(&path) else { return Ok(false) };
        let Ok(found) = file.metadata() else { return Ok(false) };
        if !found.is_file() || u64::try_from(length) != Ok(found.len()) {
            return Ok(false);
        }
        if file.set_modified(SystemTime::now()).is_err() {
            return Ok(false);
        }
        if durability == Durability::Always {
            sync_file(&file).and_then(|()| self.anchor(digest.as_bytes()[0])).map_err(Error::io("sync", &path))?;
        }
        // Removal checks the age after renaming the entry. If the entry has been renamed by now, it may still have
        // seemed too old. If not, a later removal sees the new age.
        Ok(fs::metadata(&path).is_ok_and(|there| same_file(&found, &there)))
    }
}

/// Creates the file, and its directory if that is missing. Returns the file and whether its directory is new.
fn create(path: &Path, shared: bool) -> io::Result<(File, bool)> {
    let (file, is_first) = match File::create_new(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            create_directory(path.parent().unwrap_or(path), shared)?;
            (File::create_new(path)?, true)
        }
        file => (file?, false),
    };
    if shared {
        written_file::share(&file, path);
    }
    Ok((file, is_first))
}

fn fill(mut file: File, bytes: &[u8], durability: Durability) -> io::Result<()> {
    file.write_all(bytes)?;
    if durability == Durability::Always { sync_file(&file) } else { Ok(()) }
}

#[cfg(unix)]
fn same_file(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

// On these systems, open files cannot be renamed.
#[cfg(not(unix))]
fn same_file(_one: &Metadata, _other: &Metadata) -> bool {
    true
}
