//! The processes that are killed, which run this program again.

use std::{
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::Duration,
};

use fleche_conformance::{
    backend,
    crash::{Frame, recover, work},
};
use fleche_core::store::BackendInfo;

/// The arguments of a process that is to be killed.
#[derive(clap::Args)]
pub(crate) struct ChildArguments {
    #[arg(long)]
    backend: String,
    #[arg(long)]
    directory: PathBuf,
    #[arg(long)]
    seed: u64,
    #[arg(long)]
    role: Role,
}

/// The task of a process that is to be killed.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Role {
    /// Put, read, remove and claim entries.
    Work,
    /// Open the stores and read all entries.
    Recover,
}

/// The time within which a process must have opened its stores and acknowledged an operation.
const PATIENCE: Duration = Duration::from_mins(1);

/// Works until this process is killed, or the process that started it has ended.
///
/// # Errors
/// Fails if the backend is unknown or a store operation fails.
pub(crate) fn run_child(arguments: &ChildArguments) -> Result<(), String> {
    let ChildArguments { backend: name, directory, seed, role } = arguments;
    let backend = backend(name).map_err(|error| error.to_string())?;
    thread::spawn(|| {
        // Standard input ends when the parent process does, however that happens.
        let _ = io::stdin().read_to_end(&mut Vec::new());
        process::exit(1);
    });
    // Each frame is flushed, so that every acknowledgement arrives. The reader ignores a truncated frame.
    let acknowledge = |frame: &Frame| {
        let mut output = io::stdout().lock();
        output.write_all(frame)?;
        output.flush()
    };
    match role {
        Role::Work => work(backend, directory, *seed, &acknowledge),
        Role::Recover => recover(backend, directory, &acknowledge),
    }
}

/// A running process.
pub(super) struct Child {
    process: process::Child,
    first: Receiver<()>,
    ended: Receiver<()>,
    reader: thread::JoinHandle<io::Result<Vec<u8>>>,
}

/// A process that has ended.
pub(super) struct KilledChild {
    /// The operations that the process acknowledged, as encoded frames.
    pub(super) acknowledged: Vec<u8>,
    /// The reason why the process ended, if it was not killed as planned.
    pub(super) ended: Option<String>,
}

impl Child {
    pub(super) fn start(backend: &BackendInfo, place: &Path, seed: u64, role: Role) -> Result<Self, String> {
        let cannot = |error: io::Error| format!("cannot start a process: {error}");
        let role = match role {
            Role::Work => "work",
            Role::Recover => "recover",
        };
        let mut command = Command::new(std::env::current_exe().map_err(cannot)?);
        command.args(["crash-child", "--backend", backend.name, "--role", role, "--seed", &seed.to_string()]);
        command.arg("--directory").arg(place);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(cannot)?;
        let output = process.stdout.take().ok_or("the process has no standard output")?;
        let (first_sender, first) = mpsc::channel();
        let (ended_sender, ended) = mpsc::channel();
        let reader = thread::spawn(move || {
            let bytes = read_all(output, first_sender);
            drop(ended_sender);
            bytes
        });
        Ok(Self { process, first, ended, reader })
    }

    /// Kills the process after a delay, counted from its start or from its first acknowledgement.
    ///
    /// # Errors
    /// Fails if the process cannot be killed or awaited, or its output cannot be read.
    pub(super) fn kill_after(mut self, delay: Duration, from_start: bool) -> Result<KilledChild, String> {
        let mut ended = None;
        if !from_start && self.first.recv_timeout(PATIENCE).is_err() {
            ended = Some("acknowledged nothing in time");
        } else if self.ended.recv_timeout(delay) == Err(RecvTimeoutError::Disconnected) {
            ended = Some("ended by itself");
        }
        self.process.kill().map_err(|error| format!("cannot kill a process: {error}"))?;
        let status = self.process.wait().map_err(|error| format!("cannot wait for a process: {error}"))?;
        let read = self.reader.join().map_err(|_| "the reader of a process panicked".to_owned())?;
        let ended = ended
            .map(|how| format!("a process that should work until it is killed {how} ({status}); see its output above"));
        Ok(KilledChild { acknowledged: read.map_err(|error| format!("cannot read acknowledgements: {error}"))?, ended })
    }
}

/// Reads everything, and sends a message on `first` when the first bytes arrive.
fn read_all(mut from: impl Read, first: Sender<()>) -> io::Result<Vec<u8>> {
    let (mut bytes, mut part, mut first) = (Vec::new(), vec![0; 65_536], Some(first));
    loop {
        match from.read(&mut part)? {
            0 => return Ok(bytes),
            length => bytes.extend_from_slice(&part[..length]),
        }
        if let Some(first) = first.take() {
            // Sending fails if nothing waits for the first bytes, which is fine.
            let _ = first.send(());
        }
    }
}
