//! Starts and kills worker processes.

use std::{
    collections::BTreeMap,
    fs, io,
    os::{
        fd::OwnedFd,
        unix::{fs::MetadataExt, net::UnixStream, process::CommandExt},
    },
    path::Path,
    process::{Child, Stdio},
    sync::atomic::{AtomicBool, Ordering::SeqCst},
};

use fleche_core::{Digest, Error, Result, spi::Executable};
use fleche_remote::spi::{Frame, Hello};
use nix::{
    sys::signal::{self, Signal, killpg},
    unistd::Pid,
};

/// The environment variable that marks a process as a worker. It names the socket that is the worker's stdin, and the
/// pool's process. A process that inherits the variable but not that stdin is not a worker.
pub(super) const VARIABLE: &str = "FLECHE_WORKER";

pub(super) static INITIALISED: AtomicBool = AtomicBool::new(false);

/// The test that [`worker_test!`](crate::worker_test) defines.
#[derive(Debug)]
#[doc(hidden)]
pub struct WorkerTest {
    /// The path of the test, including the name of the crate.
    pub path: &'static str,
}

inventory::collect!(WorkerTest);

pub(super) fn name_of(socket: OwnedFd) -> io::Result<String> {
    let metadata = fs::File::from(socket).metadata()?;
    Ok(format!("{}:{}", metadata.dev(), metadata.ino()))
}

/// Returns whether a child process of this program becomes a worker instead of running the program again.
pub(crate) fn is_initialised() -> bool {
    // In a test binary, this may be the first use of the program's file.
    let _ = Executable::of_program();
    INITIALISED.load(SeqCst) || worker_test().is_some()
}

/// Fails if a child process would run the program again instead of becoming a worker.
pub(super) fn check() -> Result<()> {
    if is_initialised() {
        return Ok(());
    }
    Err(refused(
        "this program has not called `fleche_exec::init()`, so its workers would run the program again; call it in the \
         first line of `main` (in a test binary, write `fleche_exec::worker_test!();`)",
    ))
}

fn worker_test() -> Option<&'static str> {
    let test = inventory::iter::<WorkerTest>().next()?;
    test.path.split_once("::").map(|(_, within)| within)
}

/// Returns the arguments with which this program starts as a worker.
pub(crate) fn worker_arguments() -> Vec<&'static str> {
    match worker_test() {
        Some(test) => vec![test, "--exact", "--nocapture", "--test-threads=1"],
        None => vec!["fleche-worker"],
    }
}

/// Starts a worker: this same program, in this directory, with one end of the channel as its stdin, and with these
/// environment variables in addition to those of this process.
pub(super) fn start(
    theirs: OwnedFd,
    directory: Option<&Path>,
    env: Option<&BTreeMap<String, String>>,
) -> Result<Child> {
    let name = theirs.try_clone().and_then(name_of).map_err(Error::io("inspect the channel of", WORKER))?;
    let mut command = Executable::of_program().map_err(Error::io("find the program of", WORKER))?.command();
    command.envs(fleche_core::spi::worker_environment());
    command.envs(env.into_iter().flatten()).env(VARIABLE, format!("{name}:{}", Pid::this()));
    command.stdin(Stdio::from(theirs)).process_group(0);
    command.args(worker_arguments());
    // The working directory of this thread may be that of an isolated call.
    directory.filter(|directory| directory.is_dir()).into_iter().for_each(|directory| {
        command.current_dir(directory);
    });
    command.spawn().map_err(Error::io("start", WORKER))
}

const WORKER: &str = "a worker process";

/// Creates a channel. Returns the pool's end and the worker's end.
pub(super) fn channel_pair() -> Result<(UnixStream, OwnedFd)> {
    let (ours, theirs) = UnixStream::pair().map_err(Error::io("open the channel of", WORKER))?;
    Ok((ours, theirs.into()))
}

/// Returns whether this frame is the greeting of a process of the same build.
pub(super) fn is_same_build(frame: &Frame) -> bool {
    Hello::from_frame(frame).is_some_and(|hello| hello.build == Some(build()))
}

/// Returns the digest that pool and worker exchange first: both must be the same build. Workers start from the file of
/// the running program, so this only catches rare mistakes.
pub(super) fn build() -> Digest {
    // Without a report of the loader, builds cannot be distinguished.
    Executable::layout().unwrap_or_else(|_| Digest::hash(b""))
}

/// Kills a worker process, with the programs that its bodies started.
pub(super) fn kill(process: Pid) {
    // The worker leads a process group, unless a body has moved it. Errors mean that it is gone.
    let _ = (killpg(process, Signal::SIGKILL), signal::kill(process, Signal::SIGKILL));
}

pub(super) fn process_of(child: &Child) -> Pid {
    #[allow(clippy::cast_possible_wrap)] // Process ids are positive `i32`s.
    Pid::from_raw(child.id() as i32)
}

pub(super) fn refused(why: impl Into<String>) -> Error {
    Error::Config { place: "process pool".to_owned(), why: why.into() }
}
