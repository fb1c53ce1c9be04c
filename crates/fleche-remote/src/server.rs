//! `serve`: serves the stores of a cache to the process at the other end of a channel.

use std::{
    io::{self, Read, Write},
    sync::{Arc, mpsc},
};

use fleche_core::{
    Cache,
    spi::{PendingReplies, ReaderThreadGuard, thread_spawner},
};

use crate::{
    claim_permits::ClaimPermits,
    frame::{Frame, Kind, Reader},
    frame_writer::FrameWriter,
    hello::{Hello, Role},
    request_pool::RequestPool,
    served_stores::ServedStores,
};

const THREAD: &str = "fleche-serve";

/// Serves the stores of this cache until the channel ends. Then the claims of the client are released.
///
/// # Errors
/// Fails if what arrives is not the protocol, and if the client speaks no common version of it.
pub fn serve(reader: impl Read, writer: impl Write + Send + 'static, cache: &Cache) -> io::Result<()> {
    let (outbox, messages) = mpsc::channel();
    let writing = thread_spawner::spawn(THREAD, move || {
        // If the client is gone, the reading thread notices it.
        let _ = FrameWriter::new(writer).write_all(&messages, |frame| frame, |_| false);
    })?;
    let server = Server::new(cache, outbox);
    let result = server.run(reader);
    server.permits.close();
    drop(server);
    if result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::Unsupported) {
        // The client reads the reason. No request has been accepted, so the thread ends.
        let _ = writing.join();
    }
    result
}

struct Server {
    stores: Arc<ServedStores>,
    permits: Arc<ClaimPermits>,
    requests: RequestPool,
    outbox: mpsc::Sender<Frame>,
    pending: Arc<PendingReplies>,
}

impl Server {
    fn new(cache: &Cache, outbox: mpsc::Sender<Frame>) -> Self {
        let stores = Arc::new(ServedStores::default());
        // The first stores have the number that clients use: 1.
        stores.serve(cache);
        let pending = Arc::<PendingReplies>::default();
        let permits = Arc::new(ClaimPermits::new(pending.clone()));
        Self { stores, permits, requests: RequestPool::new(THREAD), outbox, pending }
    }

    fn run(&self, channel: impl Read) -> io::Result<()> {
        // The client may send the next request at any time, so a thread that waits for one of its claims is not deadlocked.
        let _client = self.pending.ask();
        let _reads = ReaderThreadGuard::begin(self.pending.clone());
        let mut reader = Reader::new(channel);
        self.send(Frame::new(Kind::HELLO, 0, vec![Hello::new(Role::Server).to_bytes().into()]));
        let Some(first) = reader.read()? else { return Ok(()) };
        let Some(hello) = Hello::from_frame(&first) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the client does not begin with a greeting"));
        };
        if let Err(why) = hello.check_versions() {
            self.send(Frame::new(Kind::BYE, 0, vec![why.clone().into()]));
            return Err(io::Error::new(io::ErrorKind::Unsupported, why));
        }
        while let Some(frame) = reader.read()? {
            self.accept(frame);
        }
        Ok(())
    }

    fn accept(&self, frame: Frame) {
        match frame.kind {
            Kind::REQUEST => {
                let (stores, permits, outbox) = (self.stores.clone(), self.permits.clone(), self.outbox.clone());
                self.requests.serve(Box::new(move || {
                    // A client that is gone needs no answer.
                    let _ = outbox.send(stores.answer(&permits, &frame));
                }));
            }
            Kind::QUICK_REQUEST => self.send(self.stores.answer(&self.permits, &frame)),
            Kind::ONE_WAY => self.stores.perform_one_way(&self.permits, &frame),
            Kind::PING => self.send(Frame::new(Kind::ANSWER, frame.number, vec![vec![0].into()])),
            // Later versions may have messages that need no answer.
            _ => {}
        }
    }

    fn send(&self, frame: Frame) {
        // If the writing thread has ended, so has the channel.
        let _ = self.outbox.send(frame);
    }
}
