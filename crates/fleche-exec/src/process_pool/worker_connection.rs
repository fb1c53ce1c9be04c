//! The three threads that a pool runs for one worker: one writes, one reads, and one waits for the worker's death.

use std::{
    collections::VecDeque,
    io::{self, BufWriter, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    process::Child,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, TryRecvError},
    },
    thread::JoinHandle,
};

use bytes::Bytes;
use fleche_core::{
    Cache, CallKey, JobError,
    claim::{CallId, Claim, Leader, Role, join_call},
    context::Binding,
    encoding,
    spi::{PendingReplies, ReaderThreadGuard, WaiterThreadGuard},
};
use nix::{
    errno::Errno,
    sys::wait::{Id, WaitPidFlag, waitid},
    unistd::Pid,
};

use super::{
    claim_permits::{ClaimPermits, TaskPermit},
    codec::{self, MISSED},
    frame::{self, Frame, Kind},
    launch::{kill, process_of},
    pieces::{CHUNK, Chunks, Reader},
    request_pool,
    scheduler::Scheduler,
    spawn,
    worker_handle::Message,
};

/// Writes messages until the channel or the outbox is closed. Small frames are sent together, and between the pieces of
/// large ones.
pub(super) fn send(out: &Receiver<Message>, channel: UnixStream) {
    let mut writer = Writer { channel: BufWriter::with_capacity(1 << 16, channel), large: VecDeque::new(), streams: 0 };
    while let Ok(message) = out.recv() {
        if writer.write_all(message, out).is_err() {
            return;
        }
    }
}

struct Writer {
    channel: BufWriter<UnixStream>,
    /// Frames that are being sent in pieces, one after the other.
    large: VecDeque<Chunks<Bytes>>,
    streams: u64,
}

impl Writer {
    /// Writes the message and the messages that arrive while it is written, until nothing is left to write.
    fn write_all(&mut self, message: Message, out: &Receiver<Message>) -> io::Result<()> {
        self.write(message)?;
        loop {
            match out.try_recv() {
                Ok(message) => self.write(message)?,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => match self.large.front_mut() {
                    None => return self.channel.flush(),
                    Some(pieces) => {
                        if !pieces.write_next(&mut self.channel)? {
                            self.large.pop_front();
                        }
                    }
                },
            }
        }
    }

    fn write(&mut self, message: Message) -> io::Result<()> {
        let frame = match message {
            Message::Frame(frame) => frame,
            Message::Task(mut frame, binding, right) => {
                // If the store panics, the call is left to the worker.
                if fleche_core::job::catch(|| take_turn(&mut frame, binding.as_ref(), &right)).is_err() {
                    frame.parts[MISSED] = Bytes::new();
                }
                frame
            }
        };
        // A task must not be revoked before it has arrived.
        let waits = frame.kind == Kind::Revoke && !self.large.is_empty();
        if frame.size() <= CHUNK && !waits {
            return frame.write(&mut self.channel);
        }
        self.streams += 1;
        self.large.push_back(Chunks::new(self.streams, frame.kind, frame.number, frame.parts));
        Ok(())
    }
}

/// Gives a task whose call was a miss the permit to compute it. If another caller computes the call or has recorded it
/// by now, the task gets no permit: its worker then asks for the record, and waits for it. The task may have been
/// queued for a long time. If the store is left alone, the task is not held up by it: it gets the permit.
fn take_turn(task: &mut Frame, binding: Option<&Binding>, right: &TaskPermit) {
    let (Some(key), Some(binding)) = (codec::missed(&task.part(MISSED)), binding) else { return };
    let cache = binding.cache();
    if let Role::Leads(leader) = join_call(CallId { store: cache.calls().identity(), key }, binding.flights())
        && has_claim(cache, &key, &leader)
        && matches!(cache.contains_for_call(&key), Ok(Some(false) | None))
    {
        right.set(leader);
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
            leader.hold(held);
            true
        }
        Ok(Some(Claim::Taken(_))) | Err(_) => false,
    }
}

/// Waits until the worker has died. Its death need not end the channel, since a process that the worker has forked may
/// hold it open. After the death, nothing more can be written to the channel; what was written before is still read.
pub(super) fn watch(process: &Receiver<Pid>, channel: &UnixStream) {
    let Ok(process) = process.recv() else { return };
    // No work of this process is done on this thread.
    let _waits = WaiterThreadGuard::begin();
    let exited = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
    // Every other result means that the worker has ended, for example by a signal without a name.
    while waitid(Id::Pid(process), exited) == Err(Errno::EINTR) {}
    let _ = channel.shutdown(Shutdown::Both);
}

/// Reads the worker's messages until it is gone, and never waits for the worker to read. `death` ends when the worker
/// has died.
pub(super) fn listen(
    id: u64,
    schedule: &Arc<Scheduler>,
    channel: &UnixStream,
    child: Child,
    death: JoinHandle<()>,
    answers: &Sender<Message>,
    owed: Arc<PendingReplies>,
) {
    let rights = Arc::new(ClaimPermits::new(owed.clone()));
    let listens = ReaderThreadGuard::begin(owed);
    let mut ready = false;
    let heard = hear(id, schedule, channel, &rights, answers, &mut ready);
    drop(listens);
    let process = process_of(&child);
    if let Err(why) = heard {
        fleche_core::spi::log::error!(
            worker = process.as_raw(),
            "{why}; the worker process is killed, and the task that it ran is lost"
        );
    }
    // Nothing more arrives: the worker is dead, about to end, or not a worker. If a signal killed it, that is reported.
    let _ = channel.shutdown(Shutdown::Both);
    kill(process);
    let _ = death.join();
    rights.close();
    schedule.gone(id, child, ready);
}

/// Reads the worker's messages until the channel ends.
///
/// # Errors
/// Fails if the channel holds bytes that are not a message of the worker.
fn hear(
    id: u64,
    schedule: &Arc<Scheduler>,
    channel: &UnixStream,
    rights: &Arc<ClaimPermits>,
    answers: &Sender<Message>,
    ready: &mut bool,
) -> Result<(), &'static str> {
    let mut reader = Reader::new(channel);
    loop {
        let frame = match reader.next() {
            Ok(Some(frame)) => frame,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(FOREIGN),
            // The channel has ended, in the middle of a frame if the worker died while it wrote one.
            Ok(None) | Err(_) => return Ok(()),
        };
        if !*ready && (frame.kind != Kind::Hello || frame.part(0) != spawn::build().as_bytes()[..]) {
            return Err("a worker process runs another build than its pool");
        }
        match frame.kind {
            Kind::Hello => {
                *ready = true;
                schedule.ready(id);
            }
            Kind::Started => schedule.started(id, frame.number, rights),
            Kind::Paused => schedule.paused(id, codec::missed(&frame.part(0))),
            Kind::Resumed => schedule.resumed(id),
            Kind::Done => schedule.done(id, &frame, Ok(frame.part(2))),
            Kind::Failed => {
                let error = encoding::from_slice::<JobError>(&frame.part(2));
                let error = error.unwrap_or_else(|error| JobError::rejected(error.to_string()));
                schedule.done(id, &frame, Err(error));
            }
            Kind::Revoked => {
                let numbers: Vec<_> = frame.part(0).chunks(8).map(frame::number).collect();
                schedule.revoked(id, frame.number, &numbers);
            }
            Kind::Request => {
                let (asked, rights, answers) = (schedule.clone(), rights.clone(), answers.clone());
                schedule.servers.serve(Box::new(move || {
                    // A worker that is gone needs no answer.
                    let _ = answers.send(Message::Frame(request_pool::answer(&asked.wire.served, &rights, &frame)));
                }));
            }
            Kind::QuickRequest => {
                let _ = answers.send(Message::Frame(request_pool::answer(&schedule.wire.served, rights, &frame)));
            }
            Kind::OneWay => request_pool::hear(&schedule.wire.served, rights, &frame),
            Kind::Task | Kind::Revoke | Kind::Answer | Kind::End | Kind::Chunk => return Err(FOREIGN),
        }
    }
}

const FOREIGN: &str = "the channel of a worker process holds foreign bytes, for example written by a body";
