//! Large frames in pieces, between which small frames can pass.

use std::{
    collections::HashMap,
    io::{self, BufReader, Read, Write},
    iter::once,
};

use super::frame::{self, Frame, Kind};

/// The size of a piece in bytes. Frames with more bytes are sent in pieces.
pub(super) const CHUNK: usize = 1 << 18;

/// A large frame that is being sent.
pub(super) struct Chunks<P> {
    number: u64,
    head: Vec<u8>,
    parts: Vec<P>,
    written: usize,
    total: usize,
}

impl<P: AsRef<[u8]>> Chunks<P> {
    /// Creates the frame of this kind, number and parts. No other large frame that is being sent has the number
    /// `stream`.
    pub(super) fn new(stream: u64, kind: Kind, number: u64, parts: Vec<P>) -> Self {
        let head = frame::head(kind, number, parts.iter().map(|part| part.as_ref().len()));
        let total = head.len() + parts.iter().map(|part| part.as_ref().len()).sum::<usize>() + frame::end().len();
        Self { number: stream, head, parts, written: 0, total }
    }

    /// Writes the next piece. Returns whether there are more.
    pub(super) fn write_next(&mut self, channel: &mut impl Write) -> io::Result<bool> {
        let mut left = CHUNK.min(self.total - self.written);
        let mut head = frame::head(Kind::Chunk, self.number, [8, left].into_iter());
        head.extend_from_slice(&(self.total as u64).to_le_bytes());
        channel.write_all(&head)?;
        let mut skip = self.written;
        self.written += left;
        let parts = self.parts.iter().map(AsRef::as_ref);
        for part in once(self.head.as_slice()).chain(parts).chain(once(frame::end())) {
            let from = skip.min(part.len());
            let to = part.len().min(from + left);
            channel.write_all(&part[from..to])?;
            skip -= from;
            left -= to - from;
        }
        channel.write_all(frame::end())?;
        Ok(self.written < self.total)
    }
}

/// Reads frames, and reassembles those that arrive in pieces.
pub(super) struct Reader<R> {
    channel: BufReader<R>,
    begun: HashMap<u64, Vec<u8>>,
}

impl<R: Read> Reader<R> {
    pub(super) fn new(channel: R) -> Self {
        Self { channel: BufReader::with_capacity(1 << 16, channel), begun: HashMap::new() }
    }

    /// Returns the next whole frame, or `None` if the channel has ended between two frames.
    pub(super) fn next(&mut self) -> io::Result<Option<Frame>> {
        while let Some(frame) = Frame::read(&mut self.channel)? {
            if frame.kind != Kind::Chunk {
                return Ok(Some(frame));
            }
            if let Some(whole) = self.add(&frame)? {
                return Frame::of(whole).map(Some);
            }
        }
        Ok(None)
    }

    /// Adds a piece. Returns the whole frame if it was the last piece.
    fn add(&mut self, piece: &Frame) -> io::Result<Option<Vec<u8>>> {
        let total = usize::try_from(frame::number(&piece.part(0))).map_err(|_| frame::cut())?;
        let bytes = self.begun.entry(piece.number).or_default();
        if bytes.is_empty() {
            bytes.try_reserve_exact(total)?;
        }
        bytes.extend_from_slice(&piece.part(1));
        Ok(if bytes.len() < total { None } else { self.begun.remove(&piece.number) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(written: &[u8]) -> Vec<Frame> {
        let mut reader = Reader::new(written);
        std::iter::from_fn(|| reader.next().unwrap()).collect()
    }

    #[test]
    fn interleaved_frames_are_reassembled_and_small_frames_pass_between() {
        let large: Vec<u8> = (0..251).cycle().take(3 * CHUNK).collect();
        let mut first = Chunks::new(1, Kind::Done, 7, vec![&b"ab"[..], &large]);
        let mut second = Chunks::new(2, Kind::Task, 8, vec![&large[1..]]);
        let mut written = Vec::new();
        let (mut more_of_first, mut more_of_second) = (true, true);
        while more_of_first || more_of_second {
            more_of_first = more_of_first && first.write_next(&mut written).unwrap();
            frame::write(&mut written, Vec::new(), Kind::Started, 9, &[]).unwrap();
            more_of_second = more_of_second && second.write_next(&mut written).unwrap();
        }
        let (small, whole): (Vec<_>, Vec<_>) =
            frames(&written).into_iter().partition(|frame| frame.kind == Kind::Started);
        assert_eq!(small.len(), 4);
        assert_eq!((whole[0].kind, whole[0].number, whole[1].kind, whole[1].number), (Kind::Done, 7, Kind::Task, 8));
        assert_eq!(whole[0].parts, [&b"ab"[..], &large]);
        assert_eq!(whole[1].parts, [&large[1..]]);
    }

    #[test]
    fn impossible_frame_size_is_an_error() {
        let mut piece = frame::head(Kind::Chunk, 1, [8, 1].into_iter());
        piece.extend_from_slice(&u64::MAX.to_le_bytes());
        piece.push(0);
        piece.extend_from_slice(frame::end());
        assert!(Reader::new(&piece[..]).next().is_err());
    }
}
