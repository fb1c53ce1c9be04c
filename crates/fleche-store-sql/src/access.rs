//! Detection of what this user may do with a SQLite file.

use std::path::Path;

use fleche_core::spi::written_file::may_write;

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
        match (may_write(path), may_write(directory)) {
            (true, true) => Self::Full,
            (true, false) if has_log() => Self::Full,
            (false, true) => Self::Read,
            _ if has_log() => Self::Read,
            _ => Self::ReadAsItIs,
        }
    }
}
