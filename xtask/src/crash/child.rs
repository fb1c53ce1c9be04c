//! The processes that are killed: this program, started anew.

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

/// What such a process is told.
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

/// What such a process does.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Role {
    /// Puts, reads, removes and claims.
    Work,
    /// Looks at what is there.
    Recover,
}

/// Stores open, and processes begin, within this time.
const PATIENCE: Duration = Duration::from_mins(1);

/// Works until it is killed, or the one who started it is gone.
///
/// # Errors
/// What went wrong.
pub(crate) fn run_child(arguments: &ChildArguments) -> Result<(), String> {
    let ChildArguments { backend: name, directory, seed, role } = arguments;
    let backend = backend(name).map_err(|error| error.to_string())?;
    thread::spawn(|| {
        // It ends when the other side does, whichever way that happens.
        let _ = io::stdin().read_to_end(&mut Vec::new());
        process::exit(1);
    });
    // Nothing stays in the buffer: what was acknowledged is told. Of a frame that is cut off nobody takes notice.
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

/// A process that is running.
pub(super) struct Child {
    process: process::Child,
    first: Receiver<()>,
    ended: Receiver<()>,
    reader: thread::JoinHandle<io::Result<Vec<u8>>>,
}

/// A process that is no more.
pub(super) struct Dead {
    /// What it acknowledged.
    pub(super) acknowledged: Vec<u8>,
    /// What is wrong with its end, if it was not killed.
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
        let output = process.stdout.take().ok_or("a process without standard output")?;
        let (first_sender, first) = mpsc::channel();
        let (ended_sender, ended) = mpsc::channel();
        let reader = thread::spawn(move || {
            let bytes = read_all(output, first_sender);
            drop(ended_sender);
            bytes
        });
        Ok(Self { process, first, ended, reader })
    }

    /// Kills the process after so long, counted from its start or from its first acknowledgement.
    ///
    /// # Errors
    /// A message where that cannot be done.
    pub(super) fn kill_after(mut self, delay: Duration, from_start: bool) -> Result<Dead, String> {
        let mut ended = None;
        if !from_start && self.first.recv_timeout(PATIENCE).is_err() {
            ended = Some("was not ready");
        } else if self.ended.recv_timeout(delay) == Err(RecvTimeoutError::Disconnected) {
            ended = Some("ended by itself");
        }
        self.process.kill().map_err(|error| format!("a process cannot be killed: {error}"))?;
        let status = self.process.wait().map_err(|error| format!("a process cannot be waited for: {error}"))?;
        let read = self.reader.join().map_err(|_| "the reader of a process panicked".to_owned())?;
        let ended =
            ended.map(|how| format!("a process that should work until it is killed {how} ({status}); see above"));
        Ok(Dead { acknowledged: read.map_err(|error| format!("acknowledgements cannot be read: {error}"))?, ended })
    }
}

/// All that comes; says so when something comes.
fn read_all(mut from: impl Read, first: Sender<()>) -> io::Result<Vec<u8>> {
    let (mut bytes, mut part, mut first) = (Vec::new(), vec![0; 65_536], Some(first));
    loop {
        match from.read(&mut part)? {
            0 => return Ok(bytes),
            length => bytes.extend_from_slice(&part[..length]),
        }
        if let Some(first) = first.take() {
            // Whoever started the process may not wait for that.
            let _ = first.send(());
        }
    }
}
