//! The worker's end of the channel: frames out, and requests that wait for their answer.

use std::{
    collections::HashMap,
    io,
    os::unix::net::UnixStream,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{SyncSender, sync_channel},
    },
};

use bytes::Bytes;
use fleche_core::{Result, encoding};

use crate::processes::{
    frame::{self, Frame, Kind},
    stores::{Operation, backend},
};

/// Used by all threads of the worker but the one that reads.
#[derive(Debug)]
pub(super) struct Channel {
    out: Mutex<UnixStream>,
    requests: AtomicU64,
    waiting: Mutex<HashMap<u64, SyncSender<Frame>>>,
}

impl Channel {
    pub(super) fn new(out: UnixStream) -> Self {
        Self { out: Mutex::new(out), requests: AtomicU64::new(0), waiting: Mutex::default() }
    }

    /// Writes a frame, after what is in `before`.
    pub(super) fn send(&self, before: Vec<u8>, kind: Kind, number: u64, parts: &[&[u8]]) -> io::Result<()> {
        frame::write(&mut *self.out.lock().unwrap_or_else(PoisonError::into_inner), before, kind, number, parts)
    }

    /// Has an operation done on a store of the pool's process, and waits for what it gives.
    pub(super) fn request(&self, store: u64, operation: &Operation, bytes: &[u8]) -> Result<Option<Bytes>> {
        let operation = encoding::to_vec(operation)?;
        let number = self.requests.fetch_add(1, Relaxed);
        let (answered, answer) = sync_channel(1);
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(number, answered);
        let gone = |why: &dyn std::fmt::Display| backend(format!("the pool's process is gone: {why}"));
        self.send(Vec::new(), Kind::Request, number, &[&store.to_le_bytes(), &operation, bytes])
            .map_err(|error| gone(&error))?;
        let answer: Frame = answer.recv().map_err(|error| gone(&error))?;
        match answer.part(0).first() {
            Some(0) => Ok(None),
            Some(1) => Ok(Some(answer.part(1))),
            _ => Err(backend(String::from_utf8_lossy(&answer.part(1)).into_owned())),
        }
    }

    /// Hands an answer to the thread that waits for it.
    pub(super) fn answer(&self, answer: Frame) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&answer.number);
        if let Some(waiting) = waiting {
            // It waits until it has it.
            let _ = waiting.send(answer);
        }
    }
}
