//! Identifies the process that owns a file or works on it, and whether that process is alive: unique marks for file and
//! directory names, and [`Process`] where there is room for more.

mod process;

pub use process::Process;

use std::{
    fs,
    hash::{BuildHasher, RandomState},
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

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
    gethostname::gethostname().to_string_lossy().chars().take(64).map(plain).collect()
}

fn plain(letter: char) -> char {
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
    pub fn of(mark: &'a str) -> Option<Self> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mark_identifies_its_process() {
        let mark = mark();
        let owner = Owner::of(&mark).unwrap();
        assert!(owner.is_me());
        assert_eq!(owner.lives(), Some(true));
    }

    #[test]
    fn earlier_process_with_our_id_is_dead() {
        let mark = mark().replace(&format!("{:016x}", this_run()), "0123456789abcdef");
        assert_eq!(Owner::of(&mark).unwrap().lives(), Some(false));
    }

    #[test]
    fn process_of_another_host_is_unknown() {
        let mark = format!("elsewhere-{}-{:016x}-1", std::process::id(), this_run());
        assert_eq!(Owner::of(&mark).unwrap().lives(), None);
    }

    #[test]
    fn name_without_a_mark_has_no_owner() {
        for name in ["", "mine", "host-1-2", "host-x-1-2", "h-1-z-2"] {
            assert!(Owner::of(name).is_none(), "{name}");
        }
    }
}
