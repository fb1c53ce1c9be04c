//! `Process`: describes a process so that other processes on its host can check whether it is alive.

use std::{fs, process};

use serde::{Deserialize, Serialize};

use super::{host_name, process_exists};
use crate::digest::Digest;

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
    /// When the process started, in clock ticks since boot; `None` if unknown.
    began: Option<u64>,
}

impl Process {
    /// Describes the current process.
    pub fn this() -> Self {
        let id = process::id();
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
        Err(_) => return super::this_run(),
    };
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    *REALM.get_or_init(|| number_of(&format!("{boot} {}", namespace.display())))
}

#[cfg(not(target_os = "linux"))]
fn realm() -> u64 {
    number_of(&host_name())
}

fn number_of(text: &str) -> u64 {
    let digest = Digest::of(text.as_bytes());
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
        use std::io::Read;

        let mut child = process::Command::new("cat")
            .stdin(process::Stdio::piped())
            .stdout(process::Stdio::piped())
            .spawn()
            .unwrap();
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
