//! The connection to a worker process: a thread that writes, one that reads, and one that waits for the worker's death.

use std::{
    io,
    net::Shutdown,
    os::unix::net::UnixStream,
    path::PathBuf,
    process::Child,
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
    thread::JoinHandle,
};

use bytes::Bytes;
use fleche_core::{
    Cache, CallKey, Error, JobError,
    claim::Claim,
    context::Binding,
    encoding,
    spi::{
        BindingSpi, CacheSpi, CallId, Leader, PendingReplies, ReaderThreadGuard, Role, WaiterThreadGuard, join_call,
        thread_spawner,
    },
};
use fleche_remote::spi::{
    self as remote, ClaimPermits, Frame, FrameWriter, Hello, Kind, Reader, RequestPool, TaskPermit, number,
};
use nix::{
    errno::Errno,
    sys::wait::{Id, WaitPidFlag, waitid},
    unistd::Pid,
};

use super::{
    codec::{self, CallEncoder, MISSED},
    kinds,
    queued_task::Env,
    spawn,
    worker_handle::{Message, WorkerHandle},
};

/// The state that all workers of a pool share.
pub(super) struct PoolContext {
    /// The working directory of the workers: the one in which the pool was created, if that is known.
    pub(super) directory: Option<PathBuf>,
    pub(super) encoder: CallEncoder,
    pub(super) requests: RequestPool,
    /// The number of tasks that a worker may run in all.
    pub(super) replace_after: Option<u64>,
}

/// The receiver of a worker's reports.
pub(super) trait WorkerEvents: Send + Sync {
    /// Notes that a worker runs the same program as the pool.
    fn ready(&self, worker: u64);

    /// Notes that a worker has started a task.
    fn started(self: Arc<Self>, worker: u64, number: u64, permits: &ClaimPermits);

    /// Notes that a worker's task begins to wait, for this call or for another event. Other tasks may run in its
    /// place.
    fn paused(self: Arc<Self>, worker: u64, call: Option<CallKey>);

    /// Notes that a worker's task resumes. For a while, more workers may run than the pool's size.
    fn resumed(&self, worker: u64);

    /// Handles the end of a task. The frame holds its duration and the counters.
    fn done(self: Arc<Self>, worker: u64, frame: &Frame, outcome: Result<Bytes, JobError>);

    /// Handles the tasks that a worker returns after the task `asked` was revoked, or all unstarted tasks if `asked` is
    /// 0.
    fn revoked(self: Arc<Self>, worker: u64, asked: u64, numbers: &[u64]);

    /// Handles the death of a worker: its started task is lost or retried, and its other tasks go to other workers.
    fn gone(self: Arc<Self>, worker: u64, child: Child, ready: bool);
}

/// The name of the threads of process pools.
pub(super) const THREAD: &str = "fleche-worker";

/// Returns whether the current thread belongs to a process pool.
pub(super) fn is_own_thread() -> bool {
    std::thread::current().name() == Some(THREAD)
}

/// Starts a worker and the threads of its connection. The threads start first: they end by themselves if no process
/// starts.
pub(super) fn open(
    id: u64,
    env: Env,
    context: &Arc<PoolContext>,
    events: &Arc<dyn WorkerEvents>,
) -> fleche_core::Result<WorkerHandle> {
    let (channel, worker_end) = spawn::channel_pair()?;
    let (outbox, out) = mpsc::channel();
    let (process_sender, process_to_watch) = mpsc::channel();
    let (child_sender, child_to_read) = mpsc::channel();
    let pending = Arc::<PendingReplies>::default();
    let threads = || -> io::Result<()> {
        let (writing, watching) = (channel.try_clone()?, channel.try_clone()?);
        thread_spawner::spawn(THREAD, move || send(&out, writing))?;
        let death = thread_spawner::spawn(THREAD, move || watch(&process_to_watch, &watching))?;
        let (pending, permits) = (pending.clone(), Arc::new(ClaimPermits::new(pending.clone())));
        let (context, events, answers) = (context.clone(), events.clone(), outbox.clone());
        let listener = Listener { worker: id, context, events, channel, answers, permits };
        thread_spawner::spawn(THREAD, move || {
            if let Ok(child) = child_to_read.recv() {
                listener.run(child, death, pending);
            }
        })?;
        Ok(())
    };
    threads().map_err(Error::io("start a thread for", "a worker process"))?;
    let child = spawn::start(worker_end, context.directory.as_deref(), env.as_deref())?;
    let process = spawn::process_of(&child);
    // The watching and the reading thread wait for these.
    let _ = (process_sender.send(process), child_sender.send(child));
    let hello = Hello::new(remote::Role::Pool).with_build(spawn::build()).to_bytes();
    let _ = outbox.send(Message::Frame(Frame::new(Kind::HELLO, 0, vec![hello.into()])));
    let remaining_tasks = context.replace_after.unwrap_or(u64::MAX);
    Ok(WorkerHandle::new(id, process, outbox, pending, env, remaining_tasks))
}

/// Writes messages until the channel or the outbox is closed.
fn send(out: &Receiver<Message>, channel: UnixStream) {
    let frame_of = |message| match message {
        Message::Frame(frame) => frame,
        Message::Task(mut frame, binding, permit) => {
            // If the store panics, the call is left to the worker.
            if fleche_core::spi::catch_panic(|| attach_permit(&mut frame, binding.as_ref(), &permit)).is_err() {
                frame.parts[MISSED] = Bytes::new();
            }
            frame
        }
    };
    // A task must not be revoked before it has arrived. An error means that the worker is gone, which the reading thread handles.
    let _ = FrameWriter::new(channel).write_all(out, frame_of, |frame| frame.kind == kinds::REVOKE);
}

/// Gives a task whose call was a miss the permit to compute it. If another caller computes the call or has recorded it
/// by now, the task gets no permit: its worker then asks for the record, and waits for it. The task may have been
/// queued for a long time. If the store is left alone, the task gets the permit at once, unless only this process writes to it:
/// its worker would then replace a record without looking.
fn attach_permit(task: &mut Frame, binding: Option<&Binding>, permit: &TaskPermit) {
    let (Some(key), Some(binding)) = (codec::missed(&task.part(MISSED)), binding) else { return };
    let cache = binding.cache();
    let is_missing = |known: Option<bool>| known.map_or(!cache.calls().is_exclusive(), |there| !there);
    if let Role::Leads(leader) = join_call(CallId { store: cache.calls().identity(), key }, binding.in_flight_calls())
        && has_claim(cache, &key, &leader)
        && cache.contains_for_call(&key).is_ok_and(is_missing)
    {
        permit.set(leader);
    } else {
        task.parts[MISSED] = Bytes::new();
    }
}

/// Returns whether no other process is known to hold the store's claim. If the store grants the claim, the leader holds it from
/// now on.
fn has_claim(cache: &Cache, key: &CallKey, leader: &Leader) -> bool {
    match cache.claim_for_call(key) {
        Ok(Some(Claim::WithinProcess) | None) => true,
        Ok(Some(Claim::Held(held))) => {
            leader.set_claim(held);
            true
        }
        Ok(Some(Claim::Taken(_))) | Err(_) => false,
    }
}

/// Waits until the worker has died. Its death need not end the channel, since a process that the worker has forked may
/// hold it open. After the death, nothing more can be written to the channel; earlier frames are still read.
fn watch(process: &Receiver<Pid>, channel: &UnixStream) {
    let Ok(process) = process.recv() else { return };
    // No work of this process is done on this thread.
    let _waits = WaiterThreadGuard::begin();
    let exited = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
    // Every other result means that the worker has ended, for example by a signal without a name.
    while waitid(Id::Pid(process), exited) == Err(Errno::EINTR) {}
    let _ = channel.shutdown(Shutdown::Both);
}

/// The thread that reads a worker's messages. It never waits for the worker to read.
struct Listener {
    worker: u64,
    context: Arc<PoolContext>,
    events: Arc<dyn WorkerEvents>,
    channel: UnixStream,
    /// The sender of the answers to the worker's requests.
    answers: Sender<Message>,
    permits: Arc<ClaimPermits>,
}

impl Listener {
    /// Reads messages until the worker is gone. `death` ends when the worker has died.
    fn run(self, child: Child, death: JoinHandle<()>, pending: Arc<PendingReplies>) {
        let reader = ReaderThreadGuard::begin(pending);
        let mut ready = false;
        let result = self.read_messages(&mut ready);
        drop(reader);
        let process = spawn::process_of(&child);
        if let Err(why) = result {
            fleche_core::spi::log::error!(
                worker = process.as_raw(),
                "{why}; the worker process is killed, and the task that it ran is lost"
            );
        }
        // Nothing more arrives: the worker is dead, about to end, or not a worker. If a signal killed it, that is
        // reported.
        let _ = self.channel.shutdown(Shutdown::Both);
        spawn::kill(process);
        let _ = death.join();
        self.permits.close();
        self.events.clone().gone(self.worker, child, ready);
    }

    /// Reads messages until the channel ends. Sets `ready` when the worker has shown that it is of the same build.
    ///
    /// # Errors
    /// Fails if the channel holds bytes that are not a message of the worker.
    fn read_messages(&self, ready: &mut bool) -> Result<(), &'static str> {
        let Self { worker, context, events, permits, answers, .. } = self;
        let mut reader = Reader::new(&self.channel);
        loop {
            let frame = match reader.read() {
                Ok(Some(frame)) => frame,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(FOREIGN),
                // The channel has ended, in the middle of a frame if the worker died while it wrote one.
                Ok(None) | Err(_) => return Ok(()),
            };
            if !*ready && !spawn::is_same_build(&frame) {
                return Err("a worker process runs another build than its pool");
            }
            match frame.kind {
                Kind::HELLO => {
                    *ready = true;
                    events.ready(*worker);
                }
                kinds::STARTED => events.clone().started(*worker, frame.number, permits),
                kinds::PAUSED => events.clone().paused(*worker, codec::missed(&frame.part(0))),
                kinds::RESUMED => events.resumed(*worker),
                kinds::DONE => events.clone().done(*worker, &frame, Ok(frame.part(2))),
                kinds::FAILED => {
                    let error = encoding::from_slice::<JobError>(&frame.part(2));
                    let error = error.unwrap_or_else(|error| JobError::rejected(error.to_string()));
                    events.clone().done(*worker, &frame, Err(error));
                }
                kinds::REVOKED => {
                    let numbers: Vec<_> = frame.part(0).chunks(8).map(number).collect();
                    events.clone().revoked(*worker, frame.number, &numbers);
                }
                Kind::REQUEST => {
                    let (pool, permits, answers) = (context.clone(), permits.clone(), answers.clone());
                    context.requests.serve(Box::new(move || {
                        // A worker that is gone needs no answer.
                        let _ = answers.send(Message::Frame(pool.encoder.served.answer(&permits, &frame)));
                    }));
                }
                Kind::QUICK_REQUEST => {
                    let _ = answers.send(Message::Frame(context.encoder.served.answer(permits, &frame)));
                }
                Kind::ONE_WAY => context.encoder.served.perform_one_way(permits, &frame),
                _ => return Err(FOREIGN),
            }
        }
    }
}

const FOREIGN: &str = "the channel of a worker process holds foreign bytes, for example written by a body";
