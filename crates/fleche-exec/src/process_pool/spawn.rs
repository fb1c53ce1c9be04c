//! Starts worker processes, and turns a started process into a worker (`init`).

use std::{
    collections::BTreeMap,
    env, fs, io,
    os::{
        fd::{AsFd, OwnedFd, RawFd},
        unix::{fs::MetadataExt, net::UnixStream, process::CommandExt},
    },
    path::Path,
    process::{Child, Stdio},
    sync::atomic::{AtomicBool, Ordering::SeqCst},
};

use fleche_core::{
    Digest, Error, Result,
    bound::{Executable, layout},
};
use nix::{fcntl::OFlag, unistd::Pid};

/// The environment variable that marks a process as a worker. It names the socket that is the worker's stdin, and the
/// pool's process. A process that inherits the variable but not that stdin is not a worker.
const VARIABLE: &str = "FLECHE_WORKER";

static INITIALISED: AtomicBool = AtomicBool::new(false);

/// The test that [`worker_test!`](crate::worker_test) defines.
#[derive(Debug)]
#[doc(hidden)]
pub struct WorkerTest {
    /// The path of the test, including the name of the crate.
    pub path: &'static str,
}

inventory::collect!(WorkerTest);

/// Turns this process into a worker if a [`ProcessPool`](crate::ProcessPool) started it as one. In any other process,
/// it returns at once. In a worker it does not return: the process runs calls, and ends with its pool.
///
/// Call it in the first line of `main`, before anything that must not happen in workers:
///
/// ```
/// fn main() {
///     fleche_exec::init();
///     // Read arguments and create pools from here on.
/// }
/// ```
///
/// In a test binary, write [`worker_test!`](crate::worker_test) instead.
#[allow(clippy::needless_doctest_main)] // The example shows its position in `main`.
pub fn init() {
    INITIALISED.store(true, SeqCst);
    if let Some((channel, pool)) = channel() {
        super::worker::work(channel, pool)
    }
    // Opens the program's file if only its path leads there, before the file can be replaced. Pools report failures.
    let _ = Executable::of_program();
}

/// Returns the channel of a worker, taken from its stdin, and the pool's process; `None` if this process is not a
/// worker.
fn channel() -> Option<(UnixStream, Pid)> {
    let named = env::var(VARIABLE).ok()?;
    let (named, pool) = named.rsplit_once(':')?;
    let pool = Pid::from_raw(pool.parse().ok()?);
    let stdin = io::stdin();
    if named != name_of(stdin.as_fd().try_clone_to_owned().ok()?).ok()? {
        return None;
    }
    // Programs that the body starts would inherit stdin; they do not inherit this copy.
    let channel = stdin.as_fd().try_clone_to_owned().ok()?;
    close_inherited();
    let nothing = fs::File::open("/dev/null").ok()?;
    nix::unistd::dup2_stdin(nothing).ok()?;
    Some((channel.into(), pool))
}

/// Closes the descriptors that this process inherited from the pool's process. A lock, a pipe or a connection would
/// otherwise stay open as long as this worker lives.
///
/// These are all descriptors beyond stdin, stdout and stderr that lack close-on-exec. Descriptors that this process
/// opened before `main` have the flag, as do all that Rust opens.
fn close_inherited() {
    let numbers = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let numbers: Vec<RawFd> = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for number in numbers.into_iter().filter(|number| *number > 2 && is_for_others(*number)) {
        let _ = nix::unistd::close(number);
    }
}

/// Returns whether programs that this process starts would inherit the descriptor: see `proc_pid_fdinfo(5)`.
fn is_for_others(number: RawFd) -> bool {
    let flags = |info: String| {
        let octal = info.lines().find_map(|line| line.strip_prefix("flags:").map(str::trim).map(str::to_owned))?;
        i32::from_str_radix(&octal, 8).ok()
    };
    let flags = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).ok().and_then(flags);
    flags.is_some_and(|flags| flags & OFlag::O_CLOEXEC.bits() == 0)
}

fn name_of(socket: OwnedFd) -> io::Result<String> {
    let metadata = fs::File::from(socket).metadata()?;
    Ok(format!("{}:{}", metadata.dev(), metadata.ino()))
}

/// Fails if a child process would run the program again instead of becoming a worker.
pub(super) fn check() -> Result<()> {
    // In a test binary, this may be the first use of the program's file.
    let _ = Executable::of_program();
    if INITIALISED.load(SeqCst) || worker_test().is_some() {
        return Ok(());
    }
    Err(super::refused(
        "this program has not called `fleche_exec::init()`, so its workers would run the program again; call it in the \
         first line of `main` (in a test binary, write `fleche_exec::worker_test!();`)",
    ))
}

fn worker_test() -> Option<&'static str> {
    let test = inventory::iter::<WorkerTest>().next()?;
    test.path.split_once("::").map(|(_, within)| within)
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
    command.envs(fleche_core::spi::mode::worker_environment());
    command.envs(env.into_iter().flatten()).env(VARIABLE, format!("{name}:{}", Pid::this()));
    command.stdin(Stdio::from(theirs)).process_group(0);
    match (INITIALISED.load(SeqCst), worker_test()) {
        (_, Some(test)) => command.args([test, "--exact", "--nocapture", "--test-threads=1"]),
        (_, None) => command.arg("fleche-worker"),
    };
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

/// Returns the digest that pool and worker exchange first: both must be the same build. Workers start from the file of
/// the running program, so this only catches rare mistakes.
pub(super) fn build() -> Digest {
    // Without a report of the loader, builds cannot be distinguished.
    layout().unwrap_or_else(|_| Digest::of(b""))
}
