//! The worker's end of the channel: it sends frames, and requests that wait for their answers.

use std::{
    collections::HashMap,
    io, mem,
    os::unix::net::UnixStream,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
};

use bytes::Bytes;
use fleche_core::{
    Result, encoding,
    spi::{LockResultExt, PendingReplies, ReaderThreadGuard, thread_spawner},
};

use crate::process_pool::{
    frame::{self, CHUNK, Chunks, Frame, Kind},
    served_stores::{Operation, backend, timed_out},
};

/// The worker's channel to the pool, for all threads of the worker except the one that reads.
#[derive(Debug)]
pub(super) struct Channel {
    out: Mutex<Out>,
    /// The number of threads that wait to write a small frame.
    urgent: AtomicUsize,
    /// The next number of a request or of a large frame.
    numbers: AtomicU64,
    waiting: Mutex<HashMap<u64, SyncSender<Frame>>>,
    /// Counts the answers that the pool works on.
    pending: Arc<PendingReplies>,
    /// The thread that writes large results while the next bodies run, started when it is first needed.
    delayed_writes: Mutex<Option<DelayedWrites>>,
}

#[derive(Debug)]
struct Out {
    stream: UnixStream,
    /// Small frames to be sent with the next one.
    queued: Vec<u8>,
}

#[derive(Debug)]
struct DelayedWrites {
    results: SyncSender<Chunks<Vec<u8>>>,
    thread: JoinHandle<()>,
}

impl Channel {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self {
            out: Mutex::new(Out { stream, queued: Vec::new() }),
            urgent: AtomicUsize::new(0),
            numbers: AtomicU64::new(0),
            waiting: Mutex::default(),
            pending: Arc::default(),
            delayed_writes: Mutex::default(),
        }
    }

    /// Marks this thread as listening to the pool until the guard is dropped.
    pub(super) fn listen(&self) -> ReaderThreadGuard {
        ReaderThreadGuard::begin(self.pending.clone())
    }

    /// Sends the queued frames and then this one.
    pub(super) fn send(&self, kind: Kind, number: u64, parts: &[&[u8]]) -> io::Result<()> {
        if parts.iter().map(|part| part.len()).sum::<usize>() > CHUNK {
            return self.send_chunks(Chunks::new(self.number(), kind, number, parts.to_vec()));
        }
        let mut out = self.out();
        let queued = mem::take(&mut out.queued);
        frame::write(&mut out.stream, queued, kind, number, parts)
    }

    /// Queues a small frame, to be sent with the next one, which must follow soon.
    pub(super) fn queue(&self, kind: Kind, number: u64, parts: &[&[u8]]) {
        frame::append(&mut self.out().queued, kind, number, parts);
    }

    /// Sends a result. A large one is written while the next bodies run; the next large result waits for it.
    pub(super) fn send_result(self: &Arc<Self>, kind: Kind, number: u64, parts: [Vec<u8>; 3]) -> io::Result<()> {
        if parts.iter().map(Vec::len).sum::<usize>() <= CHUNK {
            return self.send(kind, number, &parts.each_ref().map(Vec::as_slice));
        }
        let pieces = Chunks::new(self.number(), kind, number, parts.into());
        let mut delayed_writes = self.delayed_writes.lock().ignore_poison();
        if delayed_writes.is_none() {
            *delayed_writes = DelayedWrites::start(self.clone()).ok();
        }
        match &*delayed_writes {
            Some(delayed_writes) => delayed_writes.results.send(pieces).map_err(|_| io::ErrorKind::BrokenPipe.into()),
            None => self.send_chunks(pieces),
        }
    }

    /// Sends a large frame, and lets other threads write between its pieces.
    fn send_chunks<P: AsRef<[u8]>>(&self, mut pieces: Chunks<P>) -> io::Result<()> {
        loop {
            // The lock is not fair: without this, the thread that writes large frames would hold it nearly all the
            // time.
            while self.urgent.load(Relaxed) > 0 {
                thread::yield_now();
            }
            let out = &mut *self.lock();
            // The queued frames must arrive first.
            io::Write::write_all(&mut out.stream, &mem::take(&mut out.queued))?;
            if !pieces.write_next(&mut out.stream)? {
                return Ok(());
            }
        }
    }

    /// Waits until large results are written.
    pub(super) fn finish(&self) {
        let delayed_writes = self.delayed_writes.lock().ignore_poison().take();
        if let Some(DelayedWrites { results, thread }) = delayed_writes {
            drop(results);
            let _ = thread.join();
        }
    }

    /// Performs an operation on a store of the pool's process, and waits for the answer.
    pub(super) fn request(&self, kind: Kind, store: u64, operation: &Operation, bytes: &[u8]) -> Result<Option<Bytes>> {
        // The pool works on every request, except on those that wait for a claim.
        let _pending = (!matches!(operation, Operation::AwaitClaim(..))).then(|| self.pending.ask());
        let operation = encoding::to_vec(operation)?;
        let number = self.number();
        let (answered, answer) = sync_channel(1);
        self.waiting.lock().ignore_poison().insert(number, answered);
        let gone = |why: &dyn std::fmt::Display| backend(format!("the pool's process is gone: {why}"));
        self.send(kind, number, &[&store.to_le_bytes(), &operation, bytes]).map_err(|error| gone(&error))?;
        let answer: Frame = answer.recv().map_err(|error| gone(&error))?;
        match answer.part(0).first() {
            Some(0) => Ok(None),
            Some(1) => Ok(Some(answer.part(1))),
            Some(3) => Err(timed_out(String::from_utf8_lossy(&answer.part(1)).into_owned())),
            _ => Err(backend(String::from_utf8_lossy(&answer.part(1)).into_owned())),
        }
    }

    /// Performs an operation on a store of the pool's process, without an answer. The pool performs it before it reads
    /// any later frame. With `soon`, it is sent with the next frame, which must follow soon.
    pub(super) fn tell(&self, store: u64, operation: &Operation, bytes: &[u8], soon: bool) -> Result<()> {
        let operation = encoding::to_vec(operation)?;
        let parts: [&[u8]; 3] = [&store.to_le_bytes(), &operation, bytes];
        if soon {
            self.queue(Kind::OneWay, 0, &parts);
            return Ok(());
        }
        self.send(Kind::OneWay, 0, &parts).map_err(|error| backend(format!("the pool's process is gone: {error}")))
    }

    /// Passes an answer to the thread that waits for it.
    pub(super) fn answer(&self, answer: Frame) {
        let waiting = self.waiting.lock().ignore_poison().remove(&answer.number);
        if let Some(waiting) = waiting {
            // The thread waits, so this does not block.
            let _ = waiting.send(answer);
        }
    }

    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Relaxed)
    }

    fn out(&self) -> MutexGuard<'_, Out> {
        self.urgent.fetch_add(1, Relaxed);
        let out = self.lock();
        self.urgent.fetch_sub(1, Relaxed);
        out
    }

    fn lock(&self) -> MutexGuard<'_, Out> {
        self.out.lock().ignore_poison()
    }
}

impl DelayedWrites {
    fn start(channel: Arc<Channel>) -> io::Result<Self> {
        // Not `BackgroundThreads`: a rendezvous channel makes the next large result wait for this one.
        let (results, to_write): (_, Receiver<Chunks<Vec<u8>>>) = sync_channel(0);
        let write = move || {
            for pieces in to_write {
                if channel.send_chunks(pieces).is_err() {
                    super::parent::end();
                }
            }
        };
        let thread = thread_spawner::spawn("fleche-results", write)?;
        Ok(Self { results, thread })
    }
}
