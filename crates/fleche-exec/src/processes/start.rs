//! How a process becomes a worker: the pool's side of starting one, and `init`.

use std::{
    collections::BTreeMap,
    env, fs, io,
    os::{
        fd::{AsFd, OwnedFd, RawFd},
        unix::{fs::MetadataExt, net::UnixStream, process::CommandExt},
    },
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering::SeqCst},
};

use fleche_core::{Digest, Error, Result};
use nix::fcntl::OFlag;

/// Tells a worker that it is one: which socket its stdin is. A process that inherits the variable, but not that stdin,
/// is none.
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
    if let Some(channel) = channel() {
        super::worker::work(channel)
    }
}

/// The channel of a worker, taken from its stdin; `None` where this process is none.
fn channel() -> Option<UnixStream> {
    let named = env::var(VARIABLE).ok()?;
    let stdin = io::stdin();
    if named != name_of(stdin.as_fd().try_clone_to_owned().ok()?).ok()? {
        return None;
    }
    // The copy is closed in programs that the body starts; stdin would be theirs.
    let channel = stdin.as_fd().try_clone_to_owned().ok()?;
    close_inherited();
    let nothing = fs::File::open("/dev/null").ok()?;
    nix::unistd::dup2_stdin(nothing).ok()?;
    Some(channel.into())
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

/// Starts a worker: this very binary in this directory, with one end of the channel as its stdin, and these variables
/// beside the others.
pub(super) fn start(directory: Option<&Path>, env: Option<&BTreeMap<String, String>>) -> Result<(Child, UnixStream)> {
    let (ours, theirs) = UnixStream::pair().map_err(Error::io("open a channel for", PROGRAM))?;
    let theirs = OwnedFd::from(theirs);
    let name = theirs.try_clone().and_then(name_of).map_err(Error::io("look at a channel for", PROGRAM))?;
    let mut command = Command::new(PROGRAM);
    command.envs(env.into_iter().flatten()).env(VARIABLE, name).stdin(Stdio::from(theirs)).process_group(0);
    match (INITIALISED.load(SeqCst), worker_test()) {
        (_, Some(test)) => command.args([test, "--exact", "--nocapture", "--test-threads=1"]),
        (_, None) => command.arg("fleche-worker"),
    };
    // Not this thread's own, which may be that of an isolated call.
    directory.filter(|directory| directory.is_dir()).into_iter().for_each(|directory| {
        command.current_dir(directory);
    });
    let child = command.spawn().map_err(Error::io("start", PROGRAM))?;
    Ok((child, ours))
}

const PROGRAM: &str = "/proc/self/exe";

/// The digest of the executable: worker and pool must be the same binary. Where it cannot be read, which is logged, one that
/// no other process has, so that no worker is accepted.
pub(super) fn executable() -> Digest {
    fleche_core::bound::executable().unwrap_or_else(|| Digest::of(&std::process::id().to_le_bytes()))
}
