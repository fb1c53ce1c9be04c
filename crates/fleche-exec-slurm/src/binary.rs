//! Stages the program in the shared directory under the digest of its content, so that a rebuild changes nothing that runs.

use std::{
    fs::File,
    io::{self, Seek},
    path::PathBuf,
    sync::OnceLock,
};

use fleche_core::Digest;

use crate::directory::{self, SharedDirectory};

/// A staged program.
#[derive(Clone, Debug)]
pub(crate) struct Staged {
    pub(crate) path: PathBuf,
    pub(crate) digest: Digest,
}

/// Returns the digest of the program that this process runs.
///
/// # Errors
/// Fails if its file cannot be read.
pub(crate) fn running_program() -> io::Result<Digest> {
    static RUNNING: OnceLock<Digest> = OnceLock::new();
    if let Some(digest) = RUNNING.get() {
        return Ok(*digest);
    }
    let digest = digest(&mut open()?)?;
    Ok(*RUNNING.get_or_init(|| digest))
}

fn open() -> io::Result<File> {
    // It leads to the running program even if another file has replaced it at its path.
    File::open("/proc/self/exe")
}

fn digest(file: &mut File) -> io::Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file)?;
    Ok(Digest::from_bytes(*hasher.finalize().as_bytes()))
}

/// Copies the program that this process runs into the directory, unless it is there.
///
/// # Errors
/// Fails if the program cannot be read, or cannot be written there.
pub(crate) fn stage(directory: &SharedDirectory) -> io::Result<Staged> {
    let digest = running_program()?;
    let path = directory.binaries().join(digest.to_string());
    if !path.exists() {
        let mut file = open()?;
        file.rewind()?;
        directory::stage(&mut file, &path)?;
    }
    Ok(Staged { path, digest })
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn program_is_staged_once_under_its_digest() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = SharedDirectory::open(&scratch.path().join("shared")).unwrap();
        let staged = stage(&directory).unwrap();
        assert_eq!(digest(&mut File::open(&staged.path).unwrap()).unwrap(), staged.digest);
        assert_eq!(fs::metadata(&staged.path).unwrap().permissions().mode() & 0o777, 0o500);
        let written = fs::metadata(&staged.path).unwrap().modified().unwrap();
        assert_eq!(stage(&directory).unwrap().path, staged.path);
        assert_eq!(fs::metadata(&staged.path).unwrap().modified().unwrap(), written);
        assert_eq!(fs::read_dir(directory.binaries()).unwrap().count(), 1);
    }
}
