//! How a process becomes a worker: the pool's side of starting one, and `init`.

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

/// Marks a process as a worker, and names the socket that is its stdin and the process of its pool. A process that inherits
/// the variable but not that stdin is not a worker.
const VARIABLE: &str = "FLECHE_WORKER";

static INITIALISED: AtomicBool = AtomicBool::new(false);

/// The test that [`worker_test!`](crate::worker_test) emits, by its path within the crate.
#[derive(Debug)]
#[doc(hidden)]
pub struct WorkerTest {
    /// The path, crate included.
    pub path: &'static str,
}

inventory::collect!(WorkerTest);

/// Turns this process into a worker, if a [`ProcessPool`](crate::ProcessPool) started it as one; returns at once in any
/// other process. In a worker it does not return: the process runs calls, and ends with its pool.
///
/// It stands as the first line of `main`, before anything that should not happen in workers:
///
/// ```
/// fn main() {
///     fleche_exec::init();
///     // Arguments are read and pools are made from here on.
/// }
/// ```
///
/// In test binaries [`worker_test!`](crate::worker_test) stands in its place.
#[allow(clippy::needless_doctest_main)] // Where it stands in `main` is what the example shows.
pub fn init() {
    INITIALISED.store(true, SeqCst);
    if let Some((channel, pool)) = channel() {
        super::worker::work(channel, pool)
    }
    // Opens the program's file where only its path leads there, before the file can be replaced. Pools report failures.
    let _ = Executable::of_program();
}

/// Returns the channel of a worker, taken from its stdin, and its pool's process; `None` where this process is no worker.
fn channel() -> Option<(UnixStream, Pid)> {
    let named = env::var(VARIABLE).ok()?;
    let (named, pool) = named.rsplit_once(':')?;
    let pool = Pid::from_raw(pool.parse().ok()?);
    let stdin = io::stdin();
    if named != name_of(stdin.as_fd().try_clone_to_owned().ok()?).ok()? {
        return None;
    }
    // The copy is closed in programs that the body starts; stdin would be theirs.
    let channel = stdin.as_fd().try_clone_to_owned().ok()?;
    close_inherited();
    let nothing = fs::File::open("/dev/null").ok()?;
    nix::unistd::dup2_stdin(nothing).ok()?;
    Some((channel.into(), pool))
}

/// Closes what the pool's process had open for itself, and whose owner there did not say that it is to be closed in other
/// programs: a lock, a pipe, a connection would otherwise last as long as this worker.
///
/// That is everything beyond stdin, stdout and stderr that lacks close-on-exec. What was opened in this process before
/// `main` has it, as everything has that Rust opens.
fn close_inherited() {
    let numbers = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let numbers: Vec<RawFd> = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for number in numbers.into_iter().filter(|number| *number > 2 && is_for_others(*number)) {
        let _ = nix::unistd::close(number);
    }
}

/// Whether programs that this process starts would have the descriptor too: see `proc_pid_fdinfo(5)`.
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

/// Refuses where a child would run the program again instead of becoming a worker.
pub(super) fn check() -> Result<()> {
    // In a test binary this comes first.
    let _ = Executable::of_program();
    if INITIALISED.load(SeqCst) || worker_test().is_some() {
        return Ok(());
    }
    Err(super::refused(
        "this program has not called `fleche_exec::init()`, so its workers would run the program again; call it as the \
         first line of `main` (in a test binary, write `fleche_exec::worker_test!();`)",
    ))
}

fn worker_test() -> Option<&'static str> {
    let test = inventory::iter::<WorkerTest>().next()?;
    test.path.split_once("::").map(|(_, within)| within)
}

/// Starts a worker: this very program in this directory, with one end of the channel as its stdin, and these variables
/// beside the others.
pub(super) fn start(
    theirs: OwnedFd,
    directory: Option<&Path>,
    env: Option<&BTreeMap<String, String>>,
) -> Result<Child> {
    let name = theirs.try_clone().and_then(name_of).map_err(Error::io("look at the channel of", WORKER))?;
    let mut command = Executable::of_program().map_err(Error::io("find the program of", WORKER))?.command();
    command.envs(fleche_core::mode::worker_environment());
    command.envs(env.into_iter().flatten()).env(VARIABLE, format!("{name}:{}", Pid::this()));
    command.stdin(Stdio::from(theirs)).process_group(0);
    match (INITIALISED.load(SeqCst), worker_test()) {
        (_, Some(test)) => command.args([test, "--exact", "--nocapture", "--test-threads=1"]),
        (_, None) => command.arg("fleche-worker"),
    };
    // Not this thread's own, which may be that of an isolated call.
    directory.filter(|directory| directory.is_dir()).into_iter().for_each(|directory| {
        command.current_dir(directory);
    });
    command.spawn().map_err(Error::io("start", WORKER))
}

const WORKER: &str = "a worker process";

/// A channel: the pool's end, and the worker's.
pub(super) fn channel_pair() -> Result<(UnixStream, OwnedFd)> {
    let (ours, theirs) = UnixStream::pair().map_err(Error::io("open the channel of", WORKER))?;
    Ok((ours, theirs.into()))
}

/// The greeting of pool and worker, which must be the same build. Workers are started from the file of the running program, so
/// this only catches rare mistakes.
pub(super) fn build() -> Digest {
    // Without a report of the loader, builds cannot be distinguished.
    layout().unwrap_or_else(|_| Digest::of(b""))
}
