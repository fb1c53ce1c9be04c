//! The worker process: [`init`], the inbox, and the loop that runs calls until the pool ends.

mod bindings;
mod block_notifier;
mod parent;
mod task_env;

use std::{
    collections::VecDeque,
    env, fs,
    io::{self, Write},
    mem,
    os::{
        fd::{AsFd, RawFd},
        unix::net::UnixStream,
    },
    process,
    sync::{Arc, Condvar, Mutex, MutexGuard, atomic::Ordering::SeqCst, mpsc},
    time::Instant,
};

use bytes::Bytes;
use fleche_core::{
    JobError,
    context::Binding,
    encoding,
    job::blocking_hooks,
    spi::{Executable, FunctionRef, LockResultExt, catch_panic, thread_spawner, with_known_miss},
};
use fleche_remote::spi::{Client, Frame, Hello, Kind, LastRecord, Reader, Role};
use nix::{fcntl::OFlag, unistd::Pid};

use crate::spi::WorkerEntry;

use super::{
    codec::{self, ARGUMENTS, BINDING, FILES, FUNCTION, MISSED, TASK_ENV},
    kinds,
    spawn::{self, INITIALISED, VARIABLE, name_of},
};
use bindings::Bindings;
use block_notifier::BlockNotifier;
use parent::end;

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
    if let Some((channel, pool)) = inherited_channel() {
        work(channel, pool)
    }
    for entry in inventory::iter::<WorkerEntry>() {
        if let Some(value) = env::var_os(entry.variable) {
            (entry.run)(&value);
        }
    }
    // Opens the program's file if only its path leads there, before the file can be replaced. Pools report failures.
    let _ = Executable::of_program();
}

/// Returns the channel of this worker, taken from stdin, and the pool's process, or `None` if this process is not a worker.
fn inherited_channel() -> Option<(UnixStream, Pid)> {
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

/// Runs calls from this channel on this thread, for the pool of the process `pool`. Never returns.
pub(super) fn work(stream: UnixStream, pool: Pid) -> ! {
    parent::watch(pool);
    let reading = stream.try_clone();
    let channel = Arc::new(Client::new(stream, "the pool's process"));
    let inbox = Arc::new(Inbox::default());
    let listening = reading.and_then(|reading| {
        let (channel, inbox) = (channel.clone(), inbox.clone());
        thread_spawner::spawn("fleche-channel", move || listen(reading, &channel, &inbox))
    });
    let greeted = channel.send(Kind::HELLO, 0, &[&Hello::new(Role::Worker).with_build(spawn::build()).to_bytes()]);
    if listening.is_ok() && greeted.is_ok() {
        blocking_hooks::within(Arc::new(BlockNotifier::new(channel.clone())), || run(&channel, &inbox));
        if channel.finish().is_err() {
            end();
        }
        // Writes out what bodies have printed.
        let _ = std::io::stdout().flush();
        process::exit(0);
    }
    end()
}

/// Reads the pool's messages, and never waits for the pool to read.
fn listen(channel: UnixStream, answers: &Arc<Client>, inbox: &Inbox) {
    let mut reader = Reader::new(channel);
    let _listens = answers.listen();
    let mut revocations = None;
    loop {
        let frame = match reader.read() {
            Ok(Some(frame)) => frame,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                fleche_core::spi::log::error!(
                    "a body has read from the channel to the worker's pool, or written to it, so the worker ends: a body must \
                     use only files that it has opened or received"
                );
                break;
            }
            Ok(None) | Err(_) => break,
        };
        match frame.kind {
            Kind::HELLO if !spawn::is_same_build(&frame) => break,
            kinds::TASK => inbox.put(frame),
            kinds::REVOKE => {
                let asked = frame.number;
                let numbers: Vec<u8> = inbox.revoke(asked).into_iter().flat_map(u64::to_le_bytes).collect();
                if revocations.is_none() {
                    revocations = answer_revocations(answers.clone()).ok();
                }
                if revocations.as_ref().is_none_or(|answers| answers.send((asked, numbers)).is_err()) {
                    break;
                }
            }
            Kind::ANSWER => answers.answer(frame),
            kinds::END => inbox.close(),
            _ => {}
        }
    }
    if !inbox.is_closed() {
        end();
    }
}

/// Starts a thread that sends the answers to revocations, in order: the pool takes an answer without the task's number as the
/// report that the task has started. The thread that reads the channel must not write to it, since the pool may wait for it
/// to read.
fn answer_revocations(channel: Arc<Client>) -> io::Result<mpsc::Sender<(u64, Vec<u8>)>> {
    // Not `BackgroundThreads`: the thread lives as long as the worker, so a channel is enough.
    let (sender, answers) = mpsc::channel::<(u64, Vec<u8>)>();
    thread_spawner::spawn("fleche-revoked", move || {
        for (asked, numbers) in answers {
            if channel.send(kinds::REVOKED, asked, &[&numbers]).is_err() {
                break;
            }
        }
    })?;
    Ok(sender)
}

/// Runs tasks until no more will arrive.
fn run(channel: &Arc<Client>, inbox: &Inbox) {
    task_env::begin();
    let mut bindings = Bindings::new(channel.clone());
    let mut next = inbox.wait();
    while let Some(task) = next {
        // The pool must learn that the task starts before the task can bring this process down.
        if channel.send(kinds::STARTED, task.number, &[]).is_err() {
            end();
        }
        let begun = Instant::now();
        let (outcome, stats) = call(&mut bindings, &task);
        let took = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX).to_le_bytes();
        let number = task.number;
        drop(task);
        let (kind, result) = match outcome {
            Ok(result) => (kinds::DONE, result),
            Err(error) => (kinds::FAILED, encoding::to_vec(&error).unwrap_or_default()),
        };
        next = inbox.poll();
        if next.is_some() && result.len() < SMALL {
            // The result is sent with the next start.
            channel.queue(kind, number, &[&took, &stats, &result]);
            continue;
        }
        if channel.send_result(kind, number, [took.to_vec(), stats, result]).is_err() {
            end();
        }
        next = next.or_else(|| inbox.wait());
    }
}

/// The size in bytes below which a result is copied into the next message rather than written separately.
const SMALL: usize = 1 << 14;

/// Runs a task. Returns its outcome, and the encoded counters.
fn call(bindings: &mut Bindings, task: &Frame) -> (Result<Vec<u8>, JobError>, Vec<u8>) {
    match bindings.get(&task.part(BINDING)) {
        Err(error) => (Err(not_here("binding", &error)), Vec::new()),
        Ok(None) => (call_bound(None, task), Vec::new()),
        Ok(Some(known)) => (call_bound(Some(&known.binding), task), known.unreported_stats()),
    }
}

fn call_bound(binding: Option<&Binding>, task: &Frame) -> Result<Vec<u8>, JobError> {
    let function: FunctionRef =
        encoding::from_slice(&task.part(FUNCTION)).map_err(|error| not_here("function", &error))?;
    codec::register_files(&task.part(FILES)).map_err(|error| not_here("files", &error))?;
    let arguments: Vec<&[u8]> = task.parts.iter().skip(ARGUMENTS).map(|part: &Bytes| &**part).collect();
    let run = || task_env::within(&task.part(TASK_ENV), || function.call(&arguments));
    // The call catches panics of the body. This catches panics of destructors.
    catch_panic(|| {
        let _bound = binding.map(Binding::enter);
        match codec::missed(&task.part(MISSED)) {
            None => run(),
            Some(key) => {
                let _task = LastRecord::new(key);
                with_known_miss(key, run)
            }
        }
    })?
}

fn not_here(what: &str, why: &dyn std::fmt::Display) -> JobError {
    JobError::rejected(format!("the worker cannot use the {what} of the task: {why}"))
}

/// The tasks that have arrived and have not started, in order. The thread that removes a task starts it.
#[derive(Default)]
struct Inbox {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    tasks: VecDeque<Frame>,
    closed: bool,
}

impl Inbox {
    fn put(&self, task: Frame) {
        self.lock().tasks.push_back(task);
        self.changed.notify_one();
    }

    /// Returns the next task, or `None` if there is none yet.
    fn poll(&self) -> Option<Frame> {
        self.lock().tasks.pop_front()
    }

    /// Waits for the next task. Returns `None` if no more tasks will arrive.
    fn wait(&self) -> Option<Frame> {
        let nothing_yet = |state: &mut State| state.tasks.is_empty() && !state.closed;
        let waited = self.changed.wait_while(self.lock(), nothing_yet);
        waited.ignore_poison().tasks.pop_front()
    }

    /// Removes the task with this number, or all tasks if the number is 0, unless they have started. Returns the
    /// numbers of removed tasks.
    fn revoke(&self, asked: u64) -> Vec<u64> {
        let mut state = self.lock();
        let (back, rest): (VecDeque<_>, _) =
            mem::take(&mut state.tasks).into_iter().partition(|task| asked == 0 || task.number == asked);
        state.tasks = rest;
        drop(state);
        back.into_iter().map(|task| task.number).collect()
    }

    /// Notes that no more tasks will arrive.
    fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    fn is_closed(&self) -> bool {
        self.lock().closed
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().ignore_poison()
    }
}
