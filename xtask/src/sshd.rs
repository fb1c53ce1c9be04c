//! Runs a temporary SSH server, on loopback and behind a relay that delays what is sent, for the time of a command.

mod relay;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Duration,
};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::scratch::{
    self, CommandArguments, Daemon, accepts_connections, catch_signals, exit_code, find_program, free_ports,
    output_within, processes, require_programs, run_to_end, user_name,
};

use relay::Relay;

/// The environment variable that contains the command line by which `ssh` reaches the server, with spaces between its words.
const VARIABLE: &str = "FLECHE_SSH";
/// The environment variable that is set for programs which the server runs.
const SESSION_VARIABLE: &str = "FLECHE_SSHD_SESSION";
/// The name of the server in `ssh_config`.
const HOST: &str = "fleche-scratch";
const PROGRAMS: [(&str, &str); 3] =
    [("sshd", "openssh-server"), ("ssh", "openssh-client"), ("ssh-keygen", "openssh-client")];
/// The directory that `sshd` needs when it runs as root. Debian's service creates it.
const PRIVILEGE_SEPARATION: &str = "/run/sshd";
const LIMIT: Duration = Duration::from_secs(30);

/// The arguments of `cargo xtask sshd`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Run a command with the server, which is stopped when the command ends.
    Run {
        /// The delay of each direction, in milliseconds.
        #[arg(long, default_value_t = 20, value_name = "MS")]
        delay: u64,
        #[command(flatten)]
        command: CommandArguments,
    },
}

/// Runs a command with a server, and passes on its exit code.
///
/// # Errors
/// Fails if the server cannot be started, or the command cannot be run.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    let Action::Run { delay, command } = &arguments.action;
    catch_signals()?;
    let server = Server::start(Duration::from_millis(*delay))?;
    run_to_end(command.command().env(VARIABLE, server.client())).map(exit_code)
}

/// A running server. Dropping it ends the server and its sessions, and removes its directory.
struct Server {
    daemon: Daemon,
    directory: TempDir,
}

impl Server {
    fn start(delay: Duration) -> Result<Self, String> {
        require_programs("the SSH server", &PROGRAMS)?;
        if nix::unistd::Uid::effective().is_root() {
            fs::create_dir_all(PRIVILEGE_SEPARATION)
                .map_err(|error| format!("cannot create {PRIVILEGE_SEPARATION}: {error}"))?;
        }
        let directory = scratch::directory("sshd")?;
        let at = directory.path();
        let port = free_ports(1)?[0];
        create_key(&at.join("host_key"))?;
        create_key(&at.join("user_key"))?;
        let host_key = fs::read_to_string(at.join("host_key.pub"))
            .map_err(|error| format!("cannot read the host key: {error}"))?;
        let relay = Relay::start(port, delay)?;
        write(&at.join("known_hosts"), &format!("{HOST} {host_key}"))?;
        write(&at.join("sshd_config"), &sshd_config(at, port))?;
        write(&at.join("ssh_config"), &ssh_config(at, relay.port(), &user_name()?))?;
        // sshd starts itself again for each connection, for which it needs its own absolute path.
        let program = find_program("sshd").ok_or("cannot find sshd")?;
        let mut command = Command::new(program);
        command.args(["-D", "-e", "-f"]).arg(at.join("sshd_config"));
        let daemon = Daemon::start("sshd", &mut command, &at.join("sshd.log"))?;
        let mut server = Self { daemon, directory };
        server.daemon.wait_until(LIMIT, || accepts_connections(port))?;
        Ok(server)
    }

    /// Returns the command line of a client.
    fn client(&self) -> String {
        format!("ssh -F {} {HOST}", self.directory.path().join("ssh_config").display())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The processes of a connection, and the programs that it runs, do not end with the server.
        let mut sessions = processes::descendants_of(self.daemon.id());
        self.daemon.stop(Signal::SIGTERM);
        let directory = self.directory.path().as_os_str().as_encoded_bytes();
        sessions.extend(processes::all().filter(|id| processes::has_variable(*id, SESSION_VARIABLE, directory)));
        processes::kill_all(&sessions);
    }
}

fn create_key(path: &Path) -> Result<(), String> {
    let program: PathBuf = find_program("ssh-keygen").ok_or("cannot find ssh-keygen")?;
    output_within(LIMIT, Command::new(program).args(["-q", "-t", "ed25519", "-N", "", "-C", HOST, "-f"]).arg(path))
        .map(drop)
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

fn sshd_config(directory: &Path, port: u16) -> String {
    let at = directory.display();
    let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".to_owned());
    format!(
        "Port {port}
ListenAddress 127.0.0.1
HostKey {at}/host_key
PidFile none
AuthorizedKeysFile {at}/user_key.pub
# The directory is below a temporary one that every user can write to.
StrictModes no
PermitRootLogin prohibit-password
PubkeyAuthentication yes
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
SetEnv {SESSION_VARIABLE}={at} \"PATH={path}\"
PrintMotd no
PrintLastLog no
MaxStartups 100:30:200
MaxSessions 100
Subsystem sftp internal-sftp
"
    )
}

fn ssh_config(directory: &Path, port: u16, user: &str) -> String {
    let at = directory.display();
    format!(
        "Host {HOST}
  HostName 127.0.0.1
  HostKeyAlias {HOST}
  Port {port}
  User {user}
  IdentityFile {at}/user_key
  IdentitiesOnly yes
  IdentityAgent none
  UserKnownHostsFile {at}/known_hosts
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  BatchMode yes
  LogLevel ERROR
  ConnectTimeout 10
  ServerAliveInterval 2
  ServerAliveCountMax 3
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_reaches_the_relay_and_accepts_only_the_server_s_key() {
        let text = ssh_config(Path::new("/scratch/a"), 20_001, "me");
        for line in ["  Port 20001", "  User me", "  IdentityFile /scratch/a/user_key", "  StrictHostKeyChecking yes"] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in:\n{text}");
        }
    }

    #[test]
    fn server_listens_on_loopback_and_accepts_only_the_user_s_key() {
        let text = sshd_config(Path::new("/scratch/a"), 20_000);
        for line in [
            "Port 20000",
            "ListenAddress 127.0.0.1",
            "AuthorizedKeysFile /scratch/a/user_key.pub",
            "PasswordAuthentication no",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in:\n{text}");
        }
    }
}
