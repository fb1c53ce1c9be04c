//! Detection of what this user may do with a SQLite file.

use std::path::Path;

use crate::keep::beside;

/// What this user may do with a SQLite file and with its directory, in which SQLite keeps a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileAccess {
    Full,
    /// The file can be read, together with the log of other processes.
    Read,
    /// The file can be read as it is: there is no log, and none can be created. Later writes of other processes are not
    /// seen.
    ReadAsItIs,
}

impl FileAccess {
    /// Returns what this user may do with the file, which must exist.
    pub(crate) fn of(path: &Path) -> Self {
        let has_log = || beside(path, "-wal").exists() && beside(path, "-shm").exists();
        let directory = path.parent().unwrap_or(path);
        match (is_writable(path), is_writable(directory)) {
            (true, true) => Self::Full,
            (true, false) if has_log() => Self::Full,
            (false, true) => Self::Read,
            _ if has_log() => Self::Read,
            _ => Self::ReadAsItIs,
        }
    }
}

// Opening the file for writing is not an alternative: closing it would release SQLite's locks on it in this process.
#[cfg(target_os = "linux")]
fn is_writable(path: &Path) -> bool {
    use nix::{
        fcntl::{AT_FDCWD, AtFlags},
        unistd::{AccessFlags, faccessat},
    };
    faccessat(AT_FDCWD, path, AccessFlags::W_OK, AtFlags::AT_EACCESS).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn is_writable(path: &Path) -> bool {
    std::fs::metadata(path).map_or(true, |metadata| !metadata.permissions().readonly())
}
