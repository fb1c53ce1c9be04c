//! Names of files that are being written or removed, and detection of those that a killed process left behind.

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use fleche_core::owner::{Owner, mark};

/// The state of a file with a temporary name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TempFile {
    /// An entry that is being written.
    Write,
    /// An entry that is being removed.
    Removal,
}

/// The time without a change of a temporary file after which the process that owns it is considered dead, if it cannot
/// be determined whether the process is alive.
const GIVEN_UP_AFTER: Duration = Duration::from_hours(24);

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

    fn of(name: &str) -> Option<(Self, Owner<'_>)> {
        let kind = [Self::Write, Self::Removal].into_iter().find(|kind| name.starts_with(kind.prefix()))?;
        Some((kind, Owner::of(name.strip_prefix(kind.prefix())?)?))
    }

    /// Returns whether the file is one that no process will finish: the process that owns it is gone, or it has not
    /// changed for a day. Returns `false` for all other names.
    pub(crate) fn is_left_over(name: &str, path: &Path) -> bool {
        let Some((kind, owner)) = Self::of(name) else { return false };
        match owner.lives() {
            Some(lives) => !lives,
            None => last_change(kind, path).is_some_and(|change| has_given_up(change, SystemTime::now())),
        }
    }
}

fn last_change(kind: TempFile, path: &Path) -> Option<SystemTime> {
    let metadata = fs::symlink_metadata(path).ok()?;
    match kind {
        TempFile::Write => metadata.modified().ok(),
        TempFile::Removal => renamed(&metadata),
    }
}

// The modification time of a removed entry is that of its last `put`; its status change time is that of the renaming.
#[cfg(unix)]
fn renamed(metadata: &fs::Metadata) -> Option<SystemTime> {
    use std::os::unix::fs::MetadataExt;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(metadata.ctime().try_into().ok()?))
}

#[cfg(not(unix))]
fn renamed(_metadata: &fs::Metadata) -> Option<SystemTime> {
    None
}

fn has_given_up(change: SystemTime, now: SystemTime) -> bool {
    now.duration_since(change).is_ok_and(|age| age > GIVEN_UP_AFTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_name_identifies_kind_and_process() {
        let name = TempFile::Removal.name();
        let (kind, owner) = TempFile::of(&name).unwrap();
        assert_eq!(kind, TempFile::Removal);
        assert!(owner.is_me());
    }

    #[test]
    fn other_names_are_not_recognized() {
        for name in ["", ".tmp-", ".tmp-mine", ".tmp-host-1-2", ".tmp-host-x-1-2", "tmp-host-1-2-3", ".trash-h-1-z-2"] {
            assert!(TempFile::of(name).is_none(), "{name}");
        }
    }

    #[test]
    fn owner_is_given_up_after_a_day_without_change() {
        let now = SystemTime::now();
        let hour = Duration::from_hours(1);
        assert!(has_given_up(now - 25 * hour, now));
        assert!(!has_given_up(now - 23 * hour, now));
        assert!(!has_given_up(now + hour, now));
    }
}
