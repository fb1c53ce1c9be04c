//! The names of files that are being written or removed, and how to tell those that a killed process left.

use std::{
    fs,
    hash::{BuildHasher, RandomState},
    path::Path,
    process,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

/// What a file of such a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfinished {
    /// An entry that is being written.
    Write,
    /// An entry that is being removed.
    Removal,
}

/// Where it cannot be known whether the process of such a file lives, it is taken for dead when the file has not
/// changed for this long.
const GIVEN_UP_AFTER: Duration = Duration::from_hours(24);

impl Unfinished {
    fn prefix(self) -> &'static str {
        match self {
            Self::Write => ".tmp-",
            Self::Removal => ".trash-",
        }
    }

    /// A name that nobody else uses: `<prefix><host>-<process>-<run>-<number>`, where the run tells processes apart
    /// that have the same id one after the other.
    pub(crate) fn name(self) -> String {
        let (prefix, me) = (self.prefix(), &*THIS_PROCESS);
        format!("{prefix}{}-{}-{:016x}-{}", me.host, process::id(), me.run, next_number())
    }

    /// Whether a directory entry of this name is one that nobody will finish: its process is gone, or it has not
    /// changed for a day. `false` for all other names.
    pub(crate) fn is_left_over(name: &str, path: &Path) -> bool {
        let Some((kind, owner)) = Owner::of(name) else { return false };
        match owner.lives() {
            Some(lives) => !lives,
            None => last_change(kind, path).is_some_and(|change| has_given_up(change, SystemTime::now())),
        }
    }
}

/// The number that makes a name unique within this process.
pub(crate) fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The part of a name that no other process uses, on this host or elsewhere.
pub(crate) fn this_run() -> u64 {
    THIS_PROCESS.run
}

struct ThisProcess {
    host: String,
    run: u64,
}

static THIS_PROCESS: LazyLock<ThisProcess> = LazyLock::new(|| {
    let mut host: String = gethostname::gethostname().to_string_lossy().chars().take(64).map(plain).collect();
    // Processes in containers may share a host name and still not see each other's ids.
    if let Ok(namespace) = fs::read_link("/proc/self/ns/pid") {
        host.push('.');
        host.extend(namespace.to_string_lossy().chars().filter(char::is_ascii_digit));
    }
    // The standard library seeds its hashers from the system's random source.
    ThisProcess { host, run: RandomState::new().hash_one(process::id()) }
});

fn plain(letter: char) -> char {
    if letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-') { letter } else { '_' }
}

struct Owner<'a> {
    host: &'a str,
    process: u32,
    run: u64,
}

impl<'a> Owner<'a> {
    fn of(name: &'a str) -> Option<(Unfinished, Self)> {
        let kind = [Unfinished::Write, Unfinished::Removal].into_iter().find(|kind| name.starts_with(kind.prefix()))?;
        let mut parts = name.strip_prefix(kind.prefix())?.rsplitn(4, '-');
        let _number: u64 = parts.next()?.parse().ok()?;
        let run = u64::from_str_radix(parts.next()?, 16).ok()?;
        let process = parts.next()?.parse().ok()?;
        Some((kind, Self { host: parts.next()?, process, run }))
    }

    /// Whether the process lives; `None` if that cannot be known here.
    fn lives(&self) -> Option<bool> {
        if self.host != THIS_PROCESS.host {
            return None;
        }
        if self.process == process::id() {
            return Some(self.run == THIS_PROCESS.run);
        }
        // A process that lives may be another one by now, of the same id: then the file's age has to tell.
        match process_exists(self.process) {
            Some(false) => Some(false),
            _ => None,
        }
    }
}

#[cfg(unix)]
fn process_exists(process: u32) -> Option<bool> {
    use nix::{errno::Errno, sys::signal::kill, unistd::Pid};
    let process = i32::try_from(process).ok().filter(|process| *process > 0)?;
    // Signal 0 asks only. Who may not ask is told that the process exists.
    Some(kill(Pid::from_raw(process), None) != Err(Errno::ESRCH))
}

#[cfg(not(unix))]
fn process_exists(_process: u32) -> Option<bool> {
    None
}

fn last_change(kind: Unfinished, path: &Path) -> Option<SystemTime> {
    let metadata = fs::symlink_metadata(path).ok()?;
    match kind {
        Unfinished::Write => metadata.modified().ok(),
        Unfinished::Removal => renamed(&metadata),
    }
}

// What is being removed was modified when it was put; the time of the status change tells of the renaming.
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
    fn a_name_tells_whose_it_is() {
        let name = Unfinished::Removal.name();
        let (kind, owner) = Owner::of(&name).unwrap();
        assert_eq!((kind, owner.process, owner.run), (Unfinished::Removal, process::id(), this_run()));
        assert_eq!(owner.lives(), Some(true));
    }

    #[test]
    fn a_process_of_our_id_that_is_not_us_is_gone() {
        let name = Unfinished::Write.name().replace(&format!("{:016x}", this_run()), "0123456789abcdef");
        assert_eq!(Owner::of(&name).unwrap().1.lives(), Some(false));
    }

    #[test]
    fn of_another_hosts_processes_nothing_is_known() {
        let name = format!(".tmp-elsewhere-{}-{:016x}-1", process::id(), this_run());
        assert_eq!(Owner::of(&name).unwrap().1.lives(), None);
    }

    #[test]
    fn other_names_are_nobodys() {
        for name in ["", ".tmp-", ".tmp-mine", ".tmp-host-1-2", ".tmp-host-x-1-2", "tmp-host-1-2-3", ".trash-h-1-z-2"] {
            assert!(Owner::of(name).is_none(), "{name}");
        }
    }

    #[test]
    fn a_day_without_change_is_giving_up() {
        let now = SystemTime::now();
        let hour = Duration::from_hours(1);
        assert!(has_given_up(now - 25 * hour, now));
        assert!(!has_given_up(now - 23 * hour, now));
        assert!(!has_given_up(now + hour, now));
    }
}
