//! A daemon that this process starts: its log, its readiness and its end.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use super::{
    command::caught_signal,
    processes::{self, POLL},
};

/// The number of lines of a log that an error shows.
const LINES: usize = 20;

/// A daemon, which runs in the foreground of its own group of processes. Dropping it does not end the daemon.
pub(crate) struct Daemon {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts a daemon, whose output is written to a new file.
    ///
    /// # Errors
    /// Fails if the file cannot be created, or the program cannot be run.
    pub(crate) fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self, String> {
        let output = File::create(log).and_then(|file| Ok((file.try_clone()?, file)));
        let (output, errors) = output.map_err(|error| format!("cannot create {}: {error}", log.display()))?;
        // In a group of its own, the daemon does not receive the signal of Ctrl-C.
        let started = command.stdin(Stdio::null()).stdout(output).stderr(errors).process_group(0).spawn();
        let child = started.map_err(|error| format!("cannot run {}: {error}", command.get_program().display()))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// Returns the daemon's process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until a condition says that the daemon is ready.
    ///
    /// # Errors
    /// Fails if the daemon ends, the time limit passes or this process is asked to end. The error shows the end of the log.
    pub(crate) fn wait_until(&mut self, limit: Duration, mut ready: impl FnMut() -> bool) -> Result<(), String> {
        let begun = Instant::now();
        while !ready() {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(self.failure(&format!("ended before it was ready ({status})")));
            }
            if let Some(signal) = caught_signal() {
                return Err(format!("interrupted by {signal} before {} was ready", self.name));
            }
            if begun.elapsed() >= limit {
                return Err(self.failure(&format!("was not ready after {} s", limit.as_secs())));
            }
            thread::park_timeout(POLL);
        }
        Ok(())
    }

    /// Returns a message that says what the daemon did, with the end of its log.
    fn failure(&self, what: &str) -> String {
        format!("{} {what}; the end of its log:\n{}", self.name, log_end(&self.log))
    }

    /// Asks the daemon to end, kills it if it has not ended after 5 seconds, and waits for its end.
    pub(crate) fn stop(&mut self, request: Signal) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            processes::end(self.child.id(), request);
        }
        self.wait();
    }

    /// Waits for the end of a daemon that has been asked to end.
    pub(crate) fn wait(&mut self) {
        let _ = self.child.wait();
    }
}

/// Returns the last lines of a log.
fn log_end(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let text = text.unwrap_or_else(|error| format!("(cannot read {}: {error})", log.display()));
    let lines: Vec<_> = text.lines().collect();
    if lines.is_empty() {
        return "(it is empty)".to_owned();
    }
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// Returns whether a server on this machine accepts connections at a port.
pub(crate) fn accepts_connections(port: u16) -> bool {
    TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), Duration::from_secs(1)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_about_a_daemon_that_ends_shows_the_end_of_its_log() {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "for i in $(seq 100); do echo line $i; done; exit 3"]);
        let mut daemon = Daemon::start("testd", &mut command, &directory.path().join("log")).unwrap();
        let message = daemon.wait_until(Duration::from_mins(1), || false).unwrap_err();
        assert!(message.starts_with("testd ended before it was ready (exit status: 3)"), "{message}");
        assert!(message.ends_with("line 99\nline 100") && !message.contains("line 80\n"), "{message}");
    }

    #[test]
    fn error_about_a_daemon_that_is_not_ready_names_it_and_its_time_limit() {
        let directory = tempfile::tempdir().unwrap();
        let mut daemon =
            Daemon::start("testd", Command::new("sleep").arg("600"), &directory.path().join("log")).unwrap();
        let message = daemon.wait_until(Duration::ZERO, || false).unwrap_err();
        assert_eq!(message, "testd was not ready after 0 s; the end of its log:\n(it is empty)");
        daemon.stop(Signal::SIGTERM);
        assert!(!processes::is_running(daemon.id()));
    }
}
