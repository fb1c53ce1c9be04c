//! Scratch servers: daemons on loopback that run, in a directory of their own, for the time of a command.

mod client;
mod command;
mod daemon;
pub(crate) mod processes;

pub(crate) use client::output_within;
pub(crate) use command::{catch_signals, exit_code, run_to_end};
pub(crate) use daemon::{Daemon, accepts_connections};

use std::{
    env,
    ffi::{OsStr, OsString},
    fs::File,
    io::Read,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
};

use nix::unistd::{Uid, User};
use tempfile::TempDir;

/// The ports that servers listen on. They are below Linux's range for outgoing connections, which could otherwise take a
/// port before its server does.
const PORTS: std::ops::Range<u16> = 10_000..32_000;

/// The command that a scratch server is started for.
#[derive(clap::Args)]
pub(crate) struct CommandArguments {
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    words: Vec<OsString>,
}

impl CommandArguments {
    /// Returns the command, ready to be run.
    pub(crate) fn command(&self) -> Command {
        let [program, rest @ ..] = &self.words[..] else { unreachable!("clap requires a command") };
        let mut command = Command::new(program);
        command.args(rest);
        command
    }
}

/// Creates a temporary directory that other users can enter, but only this user can change.
///
/// # Errors
/// Fails if it cannot be created, or if its path contains a space, which neither Slurm nor OpenSSH can read.
pub(crate) fn directory(server: &str) -> Result<TempDir, String> {
    let directory = tempfile::Builder::new().prefix(&format!("fleche-{server}-")).tempdir();
    let directory = directory.map_err(|error| format!("cannot create a directory for {server}: {error}"))?;
    check_path(directory.path())?;
    make_enterable(directory.path())?;
    Ok(directory)
}

/// Fails if a path cannot be part of a configuration file or of a command line.
pub(crate) fn check_path(path: &Path) -> Result<(), String> {
    match path.to_str() {
        Some(text) if !text.contains(|character: char| character.is_whitespace() || "\"'%#\\".contains(character)) => {
            Ok(())
        }
        _ => Err(format!("cannot use {} for a scratch server: give a path without spaces and quotes", path.display())),
    }
}

/// Lets other users enter a directory, in which a daemon may run as a user of its own.
pub(crate) fn make_enterable(directory: &Path) -> Result<(), String> {
    let changed = std::fs::set_permissions(directory, PermissionsExt::from_mode(0o755));
    changed.map_err(|error| format!("cannot change the permissions of {}: {error}", directory.display()))
}

/// Returns different ports that are free at the moment.
///
/// # Errors
/// Fails if too few ports are free.
pub(crate) fn free_ports(count: usize) -> Result<Vec<u16>, String> {
    // The search begins at random, so that two searches at the same time find different ports.
    let [high, low] = random_bytes()?;
    let first = PORTS.start + u16::from_be_bytes([high, low]) % (PORTS.end - PORTS.start);
    let candidates = (first..PORTS.end).chain(PORTS.start..first);
    // All ports stay bound until the last one is found.
    let bound = candidates.filter_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok().zip(Some(port)));
    let bound: Vec<_> = bound.take(count).collect();
    if bound.len() < count {
        return Err(format!("cannot find {count} free ports between {} and {}", PORTS.start, PORTS.end));
    }
    Ok(bound.into_iter().map(|(_, port)| port).collect())
}

/// Returns bytes for a secret.
pub(crate) fn random_bytes<const N: usize>() -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.map(|()| bytes).map_err(|error| format!("cannot read /dev/urandom: {error}"))
}

/// Returns the path of a program in `PATH`, or in the directories for daemons, which few users have in their `PATH`.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let daemons = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(daemons).map(|place| place.join(name)).find(|program| program.is_file())
}

/// Fails if a program is missing, and names the Debian packages of all that are.
///
/// # Errors
/// The error names the missing programs and their packages.
pub(crate) fn require_programs(server: &str, programs: &[(&str, &str)]) -> Result<(), String> {
    let missing: Vec<_> = programs.iter().filter(|(program, _)| find_program(program).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = missing.iter().map(|(program, _)| *program).collect();
    let mut packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
    packages.sort_unstable();
    packages.dedup();
    let (names, packages) = (names.join(", "), packages.join(" "));
    Err(format!(
        "cannot find {names}, which {server} needs: on Debian, `apt-get install --no-install-recommends {packages}`"
    ))
}

/// Returns the name of the user that this process runs as.
///
/// # Errors
/// Fails if the user has no name.
pub(crate) fn user_name() -> Result<String, String> {
    let id = Uid::effective();
    match User::from_uid(id) {
        Ok(Some(user)) => Ok(user.name),
        Ok(None) => Err(format!("there is no user {id} on this machine")),
        Err(error) => Err(format!("cannot look up the user {id}: {error}")),
    }
}

/// The user that runs a daemon which refuses to run as root.
pub(crate) struct Account(Option<User>);

impl Account {
    /// Returns the named account if this process runs as root, and this process's own account if not.
    ///
    /// # Errors
    /// Fails if this process runs as root and there is no such account.
    pub(crate) fn for_daemon(name: &str, server: &str, package: &str) -> Result<Self, String> {
        if !Uid::effective().is_root() {
            return Ok(Self(None));
        }
        match User::from_name(name) {
            Ok(Some(user)) => Ok(Self(Some(user))),
            Ok(None) => Err(format!(
                "cannot run {server} as root, and there is no user `{name}`: on Debian, `apt-get install {package}`"
            )),
            Err(error) => Err(format!("cannot look up the user `{name}`: {error}")),
        }
    }

    /// Makes the account the owner of a file or directory.
    ///
    /// # Errors
    /// Fails if the owner cannot be changed.
    pub(crate) fn give_ownership(&self, path: &Path) -> Result<(), String> {
        let Self(Some(user)) = self else { return Ok(()) };
        chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
            .map_err(|error| format!("cannot change the owner of {} to `{}`: {error}", path.display(), user.name))
    }

    /// Returns a command that runs as the account, in a directory that it can enter.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>, directory: &Path) -> Command {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(program);
        // The account may not be able to enter the current directory, and logs are parsed in English.
        command.current_dir(directory).env("LC_ALL", "C");
        if let Self(Some(user)) = self {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_are_different() {
        let mut ports = free_ports(20).unwrap();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 20);
    }

    #[test]
    fn missing_programs_are_named_with_their_packages() {
        let programs = [("sh", "dash"), ("no-such-program", "one"), ("nor-this", "two"), ("no-such-daemon", "one")];
        let message = require_programs("Slurm", &programs).unwrap_err();
        assert!(message.contains("no-such-program, nor-this, no-such-daemon"), "{message}");
        assert!(message.ends_with("one two`"), "{message}");
        assert!(!message.contains("dash"), "{message}");
        assert_eq!(require_programs("Slurm", &programs[..1]), Ok(()));
    }

    #[test]
    fn path_with_space_is_refused() {
        assert!(check_path(Path::new("/tmp/a b")).unwrap_err().contains("/tmp/a b"));
        assert_eq!(check_path(Path::new("/tmp/a-b.c")), Ok(()));
    }
}
