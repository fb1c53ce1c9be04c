//! Putting entries: written under a temporary name, then renamed.

use std::{
    fs::{self, File, Metadata},
    io::{self, ErrorKind, Write},
    path::Path,
    time::SystemTime,
};

use fleche_core::{Digest, Error, Result, written_file};

use crate::{
    config::Durability,
    durability::sync_file,
    list::sweep,
    read::open_itself,
    tree::{Tree, create_directory},
    unfinished::Unfinished,
};

/// How often an entry is written anew when what was written vanishes before it has its name.
const ATTEMPTS: usize = 3;

impl Tree {
    /// Writes the entry in place of whatever file has its name.
    pub(crate) fn write(&self, digest: &Digest, bytes: &[u8], durability: Durability, shared: bool) -> Result<()> {
        let path = self.path(digest);
        let mut attempt = 1;
        loop {
            match self.try_write(digest, &path, bytes, durability, shared) {
                // Somebody took us for dead (stopped for a day, perhaps) or removed the directory.
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
        let temporary = path.with_file_name(Unfinished::Write.name());
        let (file, created) = create(&temporary, shared)?;
        let written = fill(file, bytes, durability).and_then(|()| fs::rename(&temporary, path));
        if written.is_err() {
            // The first error is the one to report.
            let _ = fs::remove_file(&temporary);
        }
        written?;
        let first = digest.as_bytes()[0];
        if self.swept.insert(first) && !created {
            sweep(&self.shard(first));
        }
        if durability == Durability::Always { self.anchor(first) } else { Ok(()) }
    }

    /// Starts the age of an entry of this length anew. `false` if there is none, or it could not be done: then it has
    /// to be written.
    pub(crate) fn refresh(&self, digest: &Digest, length: usize, durability: Durability) -> Result<bool> {
        let path = self.path(digest);
        // Through a handle, so that what is refreshed is what is looked at.
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
        // A remover looks at the age after it has moved the entry away. Has it been moved by now, it may have been too
        // old then; is it still here, whoever moves it later sees the new age.
        Ok(fs::metadata(&path).is_ok_and(|there| same_file(&found, &there)))
    }
}

/// The new file, and whether its directory is new too.
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

// Files that are open cannot be renamed where this is used.
#[cfg(not(unix))]
fn same_file(_one: &Metadata, _other: &Metadata) -> bool {
    true
}
