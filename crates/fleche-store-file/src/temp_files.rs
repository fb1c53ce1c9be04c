//! Files and directories that a store creates: temporary names, detection of the files that killed processes left
//! behind, and missing directories.

use std::{
    fs::{self, DirEntry},
    io::{self, ErrorKind},
    path::Path,
    time::{Duration, SystemTime},
};

use fleche_core::spi::process_id::{Owner, mark};

/// The state of a file with a temporary name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TempFile {
    /// An entry that is being written.
    Write,
    /// An entry that is being removed.
    Removal,
}

/// The time after which a temporary file that has not changed counts as abandoned, if it cannot be determined whether
/// the process that owns it is alive.
const ABANDONED_AFTER: Duration = Duration::from_hours(24);

impl TempFile {
    fn prefix(self) -> &'static str {
        match self {
            Self::Write => ".tmp-",
            Self::Removal => ".trash-",
        }
    }

    /// Returns a unique name: `<prefix><mark>`.
    pub(crate) fn name(self) -> String {
        format!("{}{}", self.prefix(), mark())
    }

    fn parse(name: &str) -> Option<(Self, Owner<'_>)> {
        let kind = [Self::Write, Self::Removal].into_iter().find(|kind| name.starts_with(kind.prefix()))?;
        Some((kind, Owner::parse(name.strip_prefix(kind.prefix())?)?))
    }

    /// Returns whether the file is one that no process will finish: the process that owns it is gone, or it has not
    /// changed for a day. Returns `false` for all other names.
    pub(crate) fn is_left_over(name: &str, path: &Path) -> bool {
        let Some((kind, owner)) = Self::parse(name) else { return false };
        match owner.lives() {
            Some(lives) => !lives,
            None => last_change(kind, path).is_some_and(|change| is_abandoned(change, SystemTime::now())),
        }
    }
}

fn last_change(kind: TempFile, path: &Path) -> Option<SystemTime> {
    let metadata = fs::symlink_metadata(path).ok()?;
    match kind {
        TempFile::Write => metadata.modified().ok(),
        TempFile::Removal => renamed_at(&metadata),
    }
}

// The modification time of a removed entry is that of its last `put`; its status change time is that of the renaming.
#[cfg(unix)]
fn renamed_at(metadata: &fs::Metadata) -> Option<SystemTime> {
    use std::os::unix::fs::MetadataExt;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(metadata.ctime().try_into().ok()?))
}

#[cfg(not(unix))]
fn renamed_at(_metadata: &fs::Metadata) -> Option<SystemTime> {
    None
}

fn is_abandoned(change: SystemTime, now: SystemTime) -> bool {
    now.duration_since(change).is_ok_and(|age| age > ABANDONED_AFTER)
}

/// Removes the files that killed processes left in this directory, as far as possible.
pub(crate) fn sweep(directory: &Path) {
    // Files that remain are removed the next time.
    let _ = visit(directory, |_, _| ());
}

/// Calls `each` for every name in the directory that does not begin with a dot, and removes files that killed processes
/// left behind. A missing directory counts as empty, and so does a file in its place.
pub(crate) fn visit(directory: &Path, mut each: impl FnMut(&str, &DirEntry)) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        // fleche creates only names in Unicode.
        let Ok(name) = entry.file_name().into_string() else { continue };
        if !name.starts_with('.') {
            each(&name, &entry);
        } else if TempFile::is_left_over(&name, &entry.path()) {
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

/// Creates a directory of the store, and missing directories above it. In a shared store, the group may write to it.
pub(crate) fn create_directory(path: &Path, shared: bool) -> io::Result<()> {
    fs::create_dir_all(path)?;
    #[cfg(unix)]
    if shared {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(path)?.permissions().mode() & 0o7777;
        // Only the owner of a directory can change its mode.
        let _ = fs::set_permissions(path, fs::Permissions::from_mode(mode | 0o070));
    }
    #[cfg(not(unix))]
    let _ = shared;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_name_identifies_kind_and_process() {
        let name = TempFile::Removal.name();
        let (kind, owner) = TempFile::parse(&name).unwrap();
        assert_eq!(kind, TempFile::Removal);
        assert!(owner.is_me());
    }

    #[test]
    fn other_names_are_not_recognized() {
        for name in ["", ".tmp-", ".tmp-mine", ".tmp-host-1-2", ".tmp-host-x-1-2", "tmp-host-1-2-3", ".trash-h-1-z-2"] {
            assert!(TempFile::parse(name).is_none(), "{name}");
        }
    }

    #[test]
    fn owner_is_given_up_after_a_day_without_change() {
        let now = SystemTime::now();
        let hour = Duration::from_hours(1);
        assert!(is_abandoned(now - 25 * hour, now));
        assert!(!is_abandoned(now - 23 * hour, now));
        assert!(!is_abandoned(now + hour, now));
    }
}
