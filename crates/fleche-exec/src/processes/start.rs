//! How a process becomes a worker: the pool's side of starting one, and `init`.

use std::{
    collections::BTreeMap,
    env, fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{fs::MetadataExt, net::UnixStream, process::CommandExt},
    },
    process::{Child, Command, Stdio},
    sync::{
        LazyLock,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use fleche_core::{Digest, Error, Result};

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
    let nothing = fs::File::open("/dev/null").ok()?;
    nix::unistd::dup2_stdin(nothing).ok()?;
    Some(channel.into())
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

/// Starts a worker: this very binary, with one end of the channel as its stdin, and these variables beside the others.
pub(super) fn start(env: Option<&BTreeMap<String, String>>) -> Result<(Child, UnixStream)> {
    let (ours, theirs) = UnixStream::pair().map_err(Error::io("open a channel for", PROGRAM))?;
    let theirs = OwnedFd::from(theirs);
    let name = theirs.try_clone().and_then(name_of).map_err(Error::io("look at a channel for", PROGRAM))?;
    let mut command = Command::new(PROGRAM);
    command.envs(env.into_iter().flatten()).env(VARIABLE, name).stdin(Stdio::from(theirs)).process_group(0);
    match (INITIALISED.load(SeqCst), worker_test()) {
        (_, Some(test)) => command.args([test, "--exact", "--nocapture", "--test-threads=1"]),
        (_, None) => command.arg("fleche-worker"),
    };
    let child = command.spawn().map_err(Error::io("start", PROGRAM))?;
    Ok((child, ours))
}

const PROGRAM: &str = "/proc/self/exe";

/// The digest of the executable: worker and pool must be the same binary.
pub(super) fn executable() -> Digest {
    static DIGEST: LazyLock<Digest> = LazyLock::new(|| {
        let mut hasher = blake3::Hasher::new();
        match fs::File::open(PROGRAM).and_then(|file| hasher.update_reader(file).map(|hasher| hasher.finalize())) {
            Ok(hash) => Digest::from_bytes(*hash.as_bytes()),
            Err(error) => {
                tracing::error!(%error, "the executable cannot be read, so no worker will be accepted");
                Digest::of(&std::process::id().to_le_bytes())
            }
        }
    });
    *DIGEST
}
