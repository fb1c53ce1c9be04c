//! Identifies the process that owns a file or works on it, and whether that process is alive: unique marks for file and
//! directory names, and [`Process`] where there is room for more.

use std::{
    fs,
    hash::{BuildHasher, RandomState},
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// Returns a mark that is unique across hosts and processes: `<host>-<process>-<run>-<number>`. The run distinguishes
/// processes that had the same id one after another.
pub fn mark() -> String {
    let me = &*THIS_PROCESS;
    format!("{}-{}-{:016x}-{}", me.host, std::process::id(), me.run, next_number())
}

/// Returns a number that makes a name unique within this process.
pub fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Returns the part of a mark that is unique to this process, on all hosts.
pub fn this_run() -> u64 {
    THIS_PROCESS.run
}

struct ThisProcess {
    host: String,
    run: u64,
}

static THIS_PROCESS: LazyLock<ThisProcess> = LazyLock::new(|| {
    let mut host = host_name();
    // Processes in different containers may share a host name without seeing each other's ids.
    if let Ok(namespace) = fs::read_link("/proc/self/ns/pid") {
        host.push('.');
        host.extend(namespace.to_string_lossy().chars().filter(char::is_ascii_digit));
    }
    // The standard library seeds its hashers from the system's random source.
    ThisProcess { host, run: RandomState::new().hash_one(std::process::id()) }
});

fn host_name() -> String {
    gethostname::gethostname().to_string_lossy().chars().take(64).map(file_name_char).collect()
}

fn file_name_char(letter: char) -> char {
    if letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-') { letter } else { '_' }
}

/// The process that a mark names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner<'a> {
    host: &'a str,
    process: u32,
    run: u64,
}

impl<'a> Owner<'a> {
    /// Parses a mark; returns `None` for other names.
    pub fn parse(mark: &'a str) -> Option<Self> {
        let mut parts = mark.rsplitn(4, '-');
        let _number: u64 = parts.next()?.parse().ok()?;
        let run = u64::from_str_radix(parts.next()?, 16).ok()?;
        let process = parts.next()?.parse().ok()?;
        Some(Self { host: parts.next()?, process, run })
    }

    /// Returns whether this is the current process.
    pub fn is_me(&self) -> bool {
        self.host == THIS_PROCESS.host && self.process == std::process::id() && self.run == THIS_PROCESS.run
    }

    /// Returns whether the process is alive, or `None` if that cannot be known on this host.
    pub fn lives(&self) -> Option<bool> {
        if self.host != THIS_PROCESS.host {
            return None;
        }
        if self.process == std::process::id() {
            return Some(self.run == THIS_PROCESS.run);
        }
        // A live process with this id may be a different, later one.
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
    // Signal 0 only tests. A lack of permission also means that the process exists.
    Some(kill(Pid::from_raw(process), None) != Err(Errno::ESRCH))
}

#[cfg(not(unix))]
fn process_exists(_process: u32) -> Option<bool> {
    None
}

/// A process, distinguished from those of other hosts and containers and from later processes with the same id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The host's name, for display: several hosts may share a name.
    pub host: String,
    /// The process's id on that host.
    pub id: u32,
    /// The set of process ids that this process sees, identified by a digest of the system's boot id and of the
    /// namespace of process ids.
    realm: u64,
    /// The time at which the process started, in clock ticks since boot; `None` if unknown.
    began: Option<u64>,
}

impl Process {
    /// Returns the identity of the current process.
    pub fn this() -> Self {
        let id = std::process::id();
        Self { host: host_name(), id, realm: realm(), began: status(id).map(|status| status.began) }
    }

    /// Returns whether the process is alive, or `None` if that cannot be known here.
    pub fn lives(&self) -> Option<bool> {
        if self.realm != realm() {
            return None;
        }
        match (status(self.id), self.began) {
            (Some(status), Some(began)) => Some(status.began == began && !status.has_ended),
            // The process may be alive although this user may not see its status.
            _ => process_exists(self.id),
        }
    }
}

// Host names do not tell: all hosts of one image may have the same.
#[cfg(target_os = "linux")]
fn realm() -> u64 {
    use std::{io::ErrorKind, sync::OnceLock};

    static REALM: OnceLock<u64> = OnceLock::new();
    if let Some(realm) = REALM.get() {
        return *realm;
    }
    let boot = match fs::read_to_string("/proc/sys/kernel/random/boot_id") {
        Ok(boot) => boot,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => String::new(),
        // Reading may work again later. Until then no other process is recognized, and none is taken for dead.
        Err(_) => return this_run(),
    };
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    *REALM.get_or_init(|| hash_to_number(&format!("{boot} {}", namespace.display())))
}

#[cfg(not(target_os = "linux"))]
fn realm() -> u64 {
    hash_to_number(&host_name())
}

fn hash_to_number(text: &str) -> u64 {
    let digest = Digest::hash(text.as_bytes());
    digest.as_bytes()[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

struct Status {
    began: u64,
    has_ended: bool,
}

/// Returns the status of the process from proc(5), or `None` if there is none.
fn status(id: u32) -> Option<Status> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The second field is the program's name in parentheses, which may contain any character.
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?;
    let threads: u64 = fields.nth(16)?.parse().ok()?;
    let began = fields.nth(1)?.parse().ok()?;
    // A zombie has released everything. But a process whose first thread ended before others also shows `Z`.
    Some(Status { began, has_ended: matches!(state, "Z" | "X" | "x") && threads <= 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mark_identifies_its_process() {
        let mark = mark();
        let owner = Owner::parse(&mark).unwrap();
        assert!(owner.is_me());
        assert_eq!(owner.lives(), Some(true));
    }

    #[test]
    fn earlier_process_with_the_id_of_this_one_is_dead() {
        let mark = mark().replace(&format!("{:016x}", this_run()), "0123456789abcdef");
        assert_eq!(Owner::parse(&mark).unwrap().lives(), Some(false));
    }

    #[test]
    fn process_of_another_host_is_unknown() {
        let mark = format!("elsewhere-{}-{:016x}-1", std::process::id(), this_run());
        assert_eq!(Owner::parse(&mark).unwrap().lives(), None);
    }

    #[test]
    fn name_without_a_mark_has_no_owner() {
        for name in ["", "mine", "host-1-2", "host-x-1-2", "h-1-z-2"] {
            assert!(Owner::parse(name).is_none(), "{name}");
        }
    }

    #[test]
    fn this_process_lives() {
        assert_eq!(Process::this(), Process::this());
        assert_eq!(Process::this().lives(), Some(true));
    }

    #[test]
    fn earlier_process_with_the_same_id_is_dead() {
        let mut earlier = Process::this();
        if let Some(began) = &mut earlier.began {
            *began -= 1;
            assert_eq!(earlier.lives(), Some(false));
        }
    }

    #[test]
    fn process_of_another_boot_or_container_is_unknown() {
        let this = Process::this();
        assert_eq!(Process { realm: !this.realm, ..this }.lives(), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn zombie_child_is_dead() {
        use std::{
            io::Read,
            process::{Command, Stdio},
        };

        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let id = child.id();
        let theirs = Process { id, began: status(id).map(|status| status.began), ..Process::this() };
        assert_eq!(theirs.lives(), Some(true));
        child.kill().unwrap();
        // The pipe reaches its end when the child closes its side while exiting.
        child.stdout.take().unwrap().read_to_end(&mut Vec::new()).unwrap();
        while theirs.lives() == Some(true) {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert_eq!(theirs.lives(), Some(false));
    }
}
