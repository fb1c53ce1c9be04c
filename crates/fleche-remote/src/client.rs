//! The client's end of a channel: it sends frames, and requests that wait for their answers.

use std::{
    collections::HashMap,
    fmt,
    io::{self, Write},
    mem,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use bytes::Bytes;
use fleche_core::{
    Error, Result, encoding,
    spi::{LockResultExt, PendingReplies, ReaderThreadGuard, thread_spawner},
};

use crate::{
    frame::{self, CHUNK, Chunks, Frame, Kind},
    operation::{Operation, status},
};

/// A channel to another process, for all threads except the one that reads it.
pub struct Client {
    /// The process at the other end, for messages.
    server: String,
    limit: Option<Limit>,
    out: Mutex<Out>,
    /// The number of threads that wait to write a small frame.
    urgent: AtomicUsize,
    /// The next number of a request or of a large frame.
    numbers: AtomicU64,
    waiting: Mutex<Waiting>,
    /// Counts the answers that the server works on.
    pending: Arc<PendingReplies>,
    /// The thread that writes large results while the next bodies run, started when it is first needed.
    delayed_writes: Mutex<Option<DelayedWrites>>,
}

/// The limit of the time that a request may take.
struct Limit {
    time: Duration,
    /// Ends the connection, so that its reader ends too.
    close: Box<dyn Fn() + Send + Sync>,
}

struct Out {
    stream: Box<dyn Write + Send>,
    /// Small frames to be sent with the next one.
    queued: Vec<u8>,
}

/// The requests that wait for their answers.
#[derive(Default)]
struct Waiting {
    requests: HashMap<u64, SyncSender<Frame>>,
    /// Why no more answers will arrive, if the channel has ended.
    ended: Option<String>,
}

/// The answer to a request.
pub(crate) enum Answer {
    /// The operation was performed, with these bytes as its result.
    Bytes(Option<Bytes>),
    /// The server does not know the operation.
    Unknown,
}

struct DelayedWrites {
    results: SyncSender<Chunks<Vec<u8>>>,
    thread: JoinHandle<io::Result<()>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Client {
    /// Creates the client that writes to this stream. `server` is the process at the other end, for messages.
    pub fn new(stream: impl Write + Send + 'static, server: impl Into<String>) -> Self {
        Self {
            server: server.into(),
            limit: None,
            out: Mutex::new(Out { stream: Box::new(stream), queued: Vec::new() }),
            urgent: AtomicUsize::new(0),
            numbers: AtomicU64::new(0),
            waiting: Mutex::default(),
            pending: Arc::default(),
            delayed_writes: Mutex::default(),
        }
    }

    /// Limits the time of each request. If the server does not answer in time, nor to a ping, `close` is called to end the
    /// connection. By default, requests wait for as long as the connection exists.
    #[must_use]
    pub(crate) fn with_limit(self, time: Duration, close: impl Fn() + Send + Sync + 'static) -> Self {
        Self { limit: Some(Limit { time, close: Box::new(close) }), ..self }
    }

    /// Marks this thread as the reader of the channel until the guard is dropped.
    pub fn listen(&self) -> ReaderThreadGuard {
        ReaderThreadGuard::begin(self.pending.clone())
    }

    /// Sends the queued frames and then this one.
    pub fn send(&self, kind: Kind, number: u64, parts: &[&[u8]]) -> io::Result<()> {
        if parts.iter().map(|part| part.len()).sum::<usize>() > CHUNK {
            return self.send_chunks(Chunks::new(self.number(), kind, number, parts.to_vec()));
        }
        let mut out = self.out();
        let queued = mem::take(&mut out.queued);
        frame::write(&mut out.stream, queued, kind, number, parts)
    }

    /// Queues a small frame, to be sent with the next one, which must follow soon.
    pub fn queue(&self, kind: Kind, number: u64, parts: &[&[u8]]) {
        frame::append(&mut self.out().queued, kind, number, parts);
    }

    /// Sends a result. A large one is written while the next bodies run; the next large result waits for it.
    pub fn send_result(self: &Arc<Self>, kind: Kind, number: u64, parts: [Vec<u8>; 3]) -> io::Result<()> {
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
            out.stream.write_all(&mem::take(&mut out.queued))?;
            if !pieces.write_next(&mut out.stream)? {
                return Ok(());
            }
        }
    }

    /// Waits until large results are written.
    ///
    /// # Errors
    /// Fails if they cannot be written.
    pub fn finish(&self) -> io::Result<()> {
        let delayed_writes = self.delayed_writes.lock().ignore_poison().take();
        let Some(DelayedWrites { results, thread }) = delayed_writes else { return Ok(()) };
        drop(results);
        thread.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
    }

    /// Performs an operation on a store of the server, and waits for the answer.
    pub(crate) fn request(&self, kind: Kind, store: u64, operation: &Operation, bytes: &[u8]) -> Result<Option<Bytes>> {
        match self.try_request(kind, store, operation, bytes)? {
            Answer::Bytes(bytes) => Ok(bytes),
            Answer::Unknown => Err(self.error("it does not know this operation: its version is older")),
        }
    }

    /// Like [`request`](Self::request), for operations that older servers may not know.
    pub(crate) fn try_request(&self, kind: Kind, store: u64, operation: &Operation, bytes: &[u8]) -> Result<Answer> {
        // The server works on every request, except on those that wait for a claim.
        let is_wait = matches!(operation, Operation::AwaitClaim(..));
        let _pending = (!is_wait).then(|| self.pending.ask());
        let operation = encoding::to_vec(operation)?;
        let answer = self.ask(kind, &[&store.to_le_bytes(), &operation, bytes], is_wait)?;
        let text_at = |part| String::from_utf8_lossy(&answer.part(part)).into_owned();
        let text = || text_at(1);
        match answer.part(0).first() {
            Some(&status::NOTHING) => Ok(Answer::Bytes(None)),
            Some(&status::BYTES) => Ok(Answer::Bytes(Some(answer.part(1)))),
            Some(&status::TIMED_OUT) => Err(self.error(io::Error::new(io::ErrorKind::TimedOut, text()))),
            Some(&status::UNKNOWN) => Ok(Answer::Unknown),
            Some(&status::DAMAGED) => Err(Error::Damaged { entry: text_at(1), why: text_at(2) }),
            _ => Err(self.error(text())),
        }
    }

    /// Sends a frame and waits for its answer. An answer that `may_be_late` is waited for while the connection works.
    fn ask(&self, kind: Kind, parts: &[&[u8]], may_be_late: bool) -> Result<Frame> {
        let number = self.number();
        let (answered, answer) = sync_channel(1);
        {
            let mut waiting = self.waiting();
            if let Some(why) = &waiting.ended {
                return Err(self.gone(io::ErrorKind::NotConnected, why));
            }
            waiting.requests.insert(number, answered);
        }
        if let Err(error) = self.send(kind, number, parts) {
            self.waiting().requests.remove(&number);
            if let Some(limit) = &self.limit {
                // Half of the frame may have been written.
                (limit.close)();
            }
            return Err(self.gone(error.kind(), &error));
        }
        loop {
            let received = match &self.limit {
                None => answer.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(limit) => answer.recv_timeout(limit.time),
            };
            match received {
                Ok(answer) => return Ok(answer),
                // `fail_all` has dropped the sender.
                Err(RecvTimeoutError::Disconnected) => {
                    let why = self.waiting().ended.clone().unwrap_or_default();
                    return Err(self.gone(io::ErrorKind::NotConnected, &why));
                }
                Err(RecvTimeoutError::Timeout) if kind != Kind::PING && self.ask(Kind::PING, &[], false).is_ok() => {
                    if !may_be_late {
                        self.waiting().requests.remove(&number);
                        // The answer to a quick request, such as a claim, has arrived before the one to the ping.
                        return answer.try_recv().map_err(|_| self.timed_out());
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.waiting().requests.remove(&number);
                    if let Some(limit) = &self.limit {
                        (limit.close)();
                    }
                    return Err(self.timed_out());
                }
            }
        }
    }

    /// Performs an operation on a store of the server, without an answer. The server performs it before it reads any later
    /// frame. With `soon`, it is sent with the next frame, which must follow soon.
    pub(crate) fn tell(&self, store: u64, operation: &Operation, bytes: &[u8], soon: bool) -> Result<()> {
        let operation = encoding::to_vec(operation)?;
        let parts: [&[u8]; 3] = [&store.to_le_bytes(), &operation, bytes];
        if soon {
            self.queue(Kind::ONE_WAY, 0, &parts);
            return Ok(());
        }
        self.send(Kind::ONE_WAY, 0, &parts).map_err(|error| self.gone(error.kind(), &error))
    }

    /// Passes an answer to the thread that waits for it.
    pub fn answer(&self, answer: Frame) {
        let waiting = self.waiting().requests.remove(&answer.number);
        if let Some(waiting) = waiting {
            // The thread waits, so this does not block.
            let _ = waiting.send(answer);
        }
    }

    /// Fails all requests, present and later ones, because the channel has ended.
    pub fn fail_all(&self, why: &str) {
        let mut waiting = self.waiting();
        waiting.ended.get_or_insert_with(|| why.to_owned());
        waiting.requests.clear();
    }

    /// Returns whether the connection has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.waiting().ended.is_some()
    }

    /// Closes this end of the connection for writing, after all that has been sent.
    pub(crate) fn close(&self) {
        self.fail_all("this process has closed it");
        let stream = mem::replace(&mut self.lock().stream, Box::new(io::sink()));
        drop(stream);
    }

    fn timed_out(&self) -> Error {
        let time = self.limit.as_ref().map_or(Duration::ZERO, |limit| limit.time);
        self.error(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("it did not answer within {} s", time.as_secs_f64()),
        ))
    }

    fn gone(&self, kind: io::ErrorKind, why: &dyn fmt::Display) -> Error {
        self.error(io::Error::new(kind, format!("the connection to it has ended: {why}")))
    }

    fn error(&self, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::backend(format!("a store of {}", self.server))(why)
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

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().ignore_poison()
    }

    fn lock(&self) -> MutexGuard<'_, Out> {
        self.out.lock().ignore_poison()
    }
}

impl DelayedWrites {
    fn start(client: Arc<Client>) -> io::Result<Self> {
        let (results, to_write): (_, Receiver<Chunks<Vec<u8>>>) = sync_channel(0);
        let write = move || to_write.into_iter().try_for_each(|pieces| client.send_chunks(pieces));
        let thread = thread_spawner::spawn("fleche-results", write)?;
        Ok(Self { results, thread })
    }
}
