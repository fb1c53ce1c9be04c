//! Runs the command that a server was started for, and passes signals on to it, so that the server is always stopped.

use std::{
    io::{self, IsTerminal},
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Child, Command, ExitCode, ExitStatus},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};

use super::processes::POLL;

/// The signals that ask this process to end.
const SIGNALS: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];
/// The time that the command has to end after a signal, before it is killed.
const GRACE: Duration = Duration::from_secs(10);

/// The last signal that was caught, or 0.
static CAUGHT: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

/// From now on, a signal that asks this process to end is recorded instead, so that the process stops its servers first.
///
/// # Errors
/// Fails if the handlers cannot be installed.
pub(crate) fn catch_signals() -> Result<(), String> {
    let caught = CAUGHT.get_or_init(Arc::default);
    for signal in SIGNALS {
        let number = signal as i32;
        signal_hook::flag::register_usize(number, Arc::clone(caught), number.unsigned_abs() as usize)
            .map_err(|error| format!("cannot catch {signal}: {error}"))?;
    }
    Ok(())
}

/// Returns the signal that this process has caught, if there is one.
pub(super) fn caught_signal() -> Option<Signal> {
    signal_of(CAUGHT.get()?.load(SeqCst))
}

fn take_caught_signal() -> Option<Signal> {
    signal_of(CAUGHT.get()?.swap(0, SeqCst))
}

fn signal_of(number: usize) -> Option<Signal> {
    SIGNALS.into_iter().find(|signal| *signal as usize == number)
}

/// Runs a command to its end. A caught signal is passed on to it, and a second one kills it.
///
/// # Errors
/// Fails if the command cannot be run.
pub(crate) fn run_to_end(command: &mut Command) -> Result<ExitStatus, String> {
    // A terminal's command stays in this process's group, since only the terminal's group may read from it.
    let has_group = !io::stdin().is_terminal();
    if has_group {
        command.process_group(0);
    }
    let name = command.get_program().display().to_string();
    let mut child = command.spawn().map_err(|error| format!("cannot run {name}: {error}"))?;
    let mut signalled: Option<Instant> = None;
    loop {
        if let Some(status) = child.try_wait().map_err(|error| format!("cannot wait for {name}: {error}"))? {
            if signalled.is_some() && has_group {
                // Some that the command has started may have ignored the signal.
                send(&child, has_group, Signal::SIGKILL);
            }
            return Ok(status);
        }
        let caught = take_caught_signal();
        let overdue = signalled.is_some_and(|at| caught.is_some() || at.elapsed() >= GRACE);
        if overdue {
            send(&child, has_group, Signal::SIGKILL);
        } else if let Some(signal) = caught {
            send(&child, has_group, signal);
            signalled = Some(Instant::now());
        }
        thread::park_timeout(POLL);
    }
}

/// Sends a signal to a command that has not been waited for, or to all processes of its group.
fn send(child: &Child, has_group: bool, signal: Signal) {
    let Ok(id) = i32::try_from(child.id()).map(Pid::from_raw) else { return };
    // The command may have ended just now.
    let _ = if has_group { killpg(id, signal) } else { kill(id, signal) };
}

/// Returns a command's exit code, or 128 and the number of the signal that ended it, as shells do.
pub(crate) fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_code_is_the_command_s_or_that_of_its_signal() {
        let run = |script: &str| run_to_end(Command::new("sh").args(["-c", script])).unwrap();
        assert_eq!(exit_code(run("exit 7")), ExitCode::from(7));
        assert_eq!(exit_code(run("kill -TERM $$")), ExitCode::from(128 + 15));
        assert_eq!(exit_code(run("true")), ExitCode::SUCCESS);
    }
}
