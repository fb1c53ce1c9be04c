//! The thread that writes the frames of other threads to a channel.

use std::{
    collections::VecDeque,
    io::{self, BufWriter, Write},
    sync::mpsc::{Receiver, TryRecvError},
};

use bytes::Bytes;

use crate::frame::{CHUNK, Chunks, Frame};

/// Writes frames. Small ones are sent together, and between the pieces of large ones.
pub struct FrameWriter<W: Write> {
    channel: BufWriter<W>,
    /// Frames that are being sent in pieces, one after the other.
    large: VecDeque<Chunks<Bytes>>,
    streams: u64,
}

impl<W: Write> FrameWriter<W> {
    /// Creates the writer of a channel.
    pub fn new(channel: W) -> Self {
        Self { channel: BufWriter::with_capacity(1 << 16, channel), large: VecDeque::new(), streams: 0 }
    }

    /// Writes the frames of these messages until all senders are gone. A frame that `stays_behind` selects is not sent before
    /// the large frames ahead of it.
    ///
    /// # Errors
    /// Fails if the channel has ended.
    pub fn write_all<M>(
        &mut self,
        messages: &Receiver<M>,
        mut frame_of: impl FnMut(M) -> Frame,
        stays_behind: impl Fn(&Frame) -> bool,
    ) -> io::Result<()> {
        while let Ok(message) = messages.recv() {
            self.write(frame_of(message), &stays_behind)?;
            // The messages that arrive in the meantime are written before the buffer is flushed.
            loop {
                match messages.try_recv() {
                    Ok(message) => self.write(frame_of(message), &stays_behind)?,
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => match self.large.front_mut() {
                        None => break,
                        Some(pieces) => {
                            if !pieces.write_next(&mut self.channel)? {
                                self.large.pop_front();
                            }
                        }
                    },
                }
            }
            self.channel.flush()?;
        }
        Ok(())
    }

    fn write(&mut self, frame: Frame, stays_behind: &impl Fn(&Frame) -> bool) -> io::Result<()> {
        let waits = !self.large.is_empty() && stays_behind(&frame);
        if frame.size() <= CHUNK && !waits {
            return frame.write(&mut self.channel);
        }
        self.streams += 1;
        self.large.push_back(Chunks::new(self.streams, frame.kind, frame.number, frame.parts));
        Ok(())
    }
}
