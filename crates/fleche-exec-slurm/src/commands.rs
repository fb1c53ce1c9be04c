//! Runs Slurm's commands. Nothing else in this crate starts processes.

use std::{
    env,
    io::Read,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// A command of Slurm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Sbatch,
    Squeue,
    Scancel,
    Sacct,
    Scontrol,
}

/// Why a command has no output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CommandError {
    /// The scheduler has refused the request, for the reason in its last line.
    Refused(String),
    /// The scheduler cannot be reached, or has not answered in time. It may still have accepted the request, or accept it later.
    NoAnswer(String),
}

/// The scheduler, and the clock of its user.
pub(crate) trait Scheduler: Send {
    /// Runs a command and returns its standard output.
    ///
    /// # Errors
    /// Fails as [`CommandError`] describes.
    fn run(&mut self, program: Program, arguments: &[String]) -> Result<String, CommandError>;

    /// Returns the time since a fixed moment.
    fn now(&self) -> Duration;
}

/// The time limit of a command. A client gives up by itself after about 10 s.
const LIMIT: Duration = Duration::from_secs(20);

/// The commands that are installed on this machine.
#[derive(Debug)]
pub(crate) struct InstalledCommands {
    since: Instant,
}

impl InstalledCommands {
    pub(crate) fn new() -> Self {
        Self { since: Instant::now() }
    }
}

impl Scheduler for InstalledCommands {
    fn run(&mut self, program: Program, arguments: &[String]) -> Result<String, CommandError> {
        let name = program.name();
        let mut command = Command::new(name);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for (variable, _) in env::vars_os() {
            if variable.to_str().is_some_and(is_foreign_setting) {
                command.env_remove(variable);
            }
        }
        if program == Program::Squeue {
            // Without it, long lists of elements are cut off.
            command.env("SLURM_BITSTR_LEN", "0");
        }
        let mut child =
            command.spawn().map_err(|error| CommandError::Refused(format!("cannot start `{name}`: {error}")))?;
        let (sender, ended) = mpsc::channel();
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (is_in_time, stdout, stderr) = thread::scope(|scope| {
            let other = sender.clone();
            let stdout = scope.spawn(move || read_all(stdout, &sender));
            let stderr = scope.spawn(move || read_all(stderr, &other));
            let begun = Instant::now();
            let is_in_time = (0..2).all(|_| ended.recv_timeout(LIMIT.saturating_sub(begun.elapsed())).is_ok());
            if !is_in_time {
                let _ = child.kill();
            }
            (is_in_time, stdout.join().unwrap_or_default(), stderr.join().unwrap_or_default())
        });
        let status = child.wait().map_err(|error| CommandError::NoAnswer(format!("`{name}`: {error}")))?;
        if !is_in_time {
            return Err(CommandError::NoAnswer(format!("`{name}` has not ended after {} s", LIMIT.as_secs())));
        }
        if status.success() {
            return Ok(stdout);
        }
        Err(classify(name, &stderr))
    }

    fn now(&self) -> Duration {
        self.since.elapsed()
    }
}

fn read_all(pipe: Option<impl Read>, ended: &mpsc::Sender<()>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        // What was read before an error is used.
        let _ = pipe.read_to_end(&mut bytes);
    }
    let _ = ended.send(());
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Program {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sbatch => "sbatch",
            Self::Squeue => "squeue",
            Self::Scancel => "scancel",
            Self::Sacct => "sacct",
            Self::Scontrol => "scontrol",
        }
    }
}

/// Returns whether the variable changes what the commands print, or describes the job in which this process may itself run. The
/// user's settings of `sbatch` stay.
fn is_foreign_setting(variable: &str) -> bool {
    let begins = ["SLURM_", "SQUEUE_", "SACCT_", "SCANCEL_", "SCONTROL_"];
    begins.iter().any(|begin| variable.starts_with(begin)) && !matches!(variable, "SLURM_CONF" | "SLURM_CLUSTERS")
}

/// Tells a refusal from a failure to reach the controller.
fn classify(name: &str, stderr: &str) -> CommandError {
    const UNREACHED: [&str; 7] = [
        "timed out",
        "Unable to contact",
        "temporarily unable",
        "Connection refused",
        "Communication",
        "connect failure",
        "Transport endpoint",
    ];
    let is_reason = |line: &&str| !line.is_empty() && !line.starts_with("Try ");
    let last = stderr.lines().map(str::trim).rfind(is_reason).unwrap_or("it gives no reason");
    let text = format!("`{name}`: {last}");
    if stderr.trim().is_empty() || UNREACHED.iter().any(|unreached| stderr.contains(unreached)) {
        return CommandError::NoAnswer(text);
    }
    CommandError::Refused(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_stated_reason_is_a_refusal() {
        for text in [
            "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
            "slurm_load_jobs error: Unable to contact slurm controller (connect failure)",
            "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying",
            "",
        ] {
            assert!(matches!(classify("sbatch", text), CommandError::NoAnswer(_)), "{text}");
        }
        let text = "sbatch: some note\nsbatch: error: invalid partition specified: x\n";
        assert_eq!(
            classify("sbatch", text),
            CommandError::Refused("`sbatch`: sbatch: error: invalid partition specified: x".to_owned())
        );
    }

    #[test]
    fn settings_of_the_surrounding_job_are_foreign() {
        for foreign in ["SLURM_JOB_ID", "SQUEUE_FORMAT", "SACCT_FORMAT"] {
            assert!(is_foreign_setting(foreign));
        }
        for own in ["SLURM_CONF", "SBATCH_PARTITION", "PATH"] {
            assert!(!is_foreign_setting(own));
        }
    }
}
