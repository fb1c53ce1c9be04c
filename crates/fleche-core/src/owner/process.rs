//! `Process`: a process, described so that others on its host can see whether it still lives.

use std::{fs, process};

use serde::{Deserialize, Serialize};

use super::{host_name, process_exists};
use crate::digest::Digest;

/// A process, told apart from those of other hosts and containers and from later ones with its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The host's name, for people: several hosts may have one.
    pub host: String,
    /// The process's id there.
    pub id: u32,
    /// Who has another number of these sees other ids: a digest of the boot of the system and of the namespace of process ids.
    realm: u64,
    /// When it began, in ticks of the system's clock; `None` where that is not known.
    began: Option<u64>,
}

impl Process {
    /// This process.
    pub fn this() -> Self {
        let id = process::id();
        Self { host: host_name(), id, realm: realm(), began: status(id).map(|status| status.began) }
    }

    /// Whether it lives; `None` if that cannot be known here.
    pub fn lives(&self) -> Option<bool> {
        if self.realm != realm() {
            return None;
        }
        match (status(self.id), self.began) {
            (Some(status), Some(began)) => Some(status.began == began && !status.has_ended),
            // What is hidden from this user may live all the same.
            _ => process_exists(self.id),
        }
    }
}

// The names of hosts are no help: those of one image may all have the same.
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
        // There may be descriptors again later. Until then no process is known, and none is taken for dead.
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

/// What proc(5) says of the process; `None` where it says nothing.
fn status(id: u32) -> Option<Status> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The second field is the program's name in parentheses, which may hold anything.
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?;
    let threads: u64 = fields.nth(16)?.parse().ok()?;
    let began = fields.nth(1)?.parse().ok()?;
    // A process that nobody has waited for yet is still there, but has let go of everything. So does the first thread
    // look that ended before others.
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
    fn another_process_of_the_same_id_does_not_live() {
        let mut earlier = Process::this();
        if let Some(began) = &mut earlier.began {
            *began -= 1;
            assert_eq!(earlier.lives(), Some(false));
        }
    }

    #[test]
    fn of_another_boots_or_containers_processes_nothing_is_known() {
        let this = Process::this();
        assert_eq!(Process { realm: !this.realm, ..this }.lives(), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_child_is_gone_before_it_is_waited_for() {
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
        // Its end of the pipe is closed while it ends.
        child.stdout.take().unwrap().read_to_end(&mut Vec::new()).unwrap();
        while theirs.lives() == Some(true) {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert_eq!(theirs.lives(), Some(false));
    }
}
