//! Frames: the messages on a channel between two processes.
//!
//! A frame is a marker (8 bytes), the length of its body (8), the body, and another marker (8). The body is the frame's
//! kind (1), a number (8), the number of parts (4), the length of each part (8), and the parts. Numbers are little
//! endian.
//!
//! A body that writes into the channel, because it inherited or guessed the descriptor, shifts the markers. Foreign
//! bytes between frames or within one are therefore noticed before the frame is read as a message.

use std::{
    collections::HashMap,
    io::{self, BufReader, Read, Write},
    iter::once,
};

use bytes::Bytes;

/// The kind of a frame: a number. Numbers below 16 are kinds of this crate. Numbers from 32 are kinds of the layer above, such
/// as a process pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind(pub u8);

impl Kind {
    /// Both directions: the first frame. Part: a `Hello`.
    pub const HELLO: Self = Self(0);
    /// Both directions: a piece of the sender's large frame `number`. Parts: the size of the whole frame (8), and the piece.
    pub(crate) const CHUNK: Self = Self(1);
    /// To the server: an operation on one of its stores. Parts: see `served_stores`.
    pub const REQUEST: Self = Self(2);
    /// To the server: like `REQUEST`, but performed by the thread that reads the channel.
    pub const QUICK_REQUEST: Self = Self(3);
    /// To the server: like `QUICK_REQUEST`, but not answered. It is performed before the next frame is read.
    pub const ONE_WAY: Self = Self(4);
    /// To the client: the answer to request `number`. Parts: see `served_stores`.
    pub const ANSWER: Self = Self(5);
    /// To the server: answered at once, to show that the channel works.
    pub const PING: Self = Self(6);
    /// To the client: the server refuses to serve it. Part: the reason as text.
    pub const BYE: Self = Self(7);
}

/// A message.
#[derive(Debug)]
pub struct Frame {
    /// What the frame means.
    pub kind: Kind,
    /// The number of what the frame is about, such as a request.
    pub number: u64,
    /// The content.
    pub parts: Vec<Bytes>,
}

/// Random bytes with which every frame begins.
const BEGIN: [u8; 8] = *b"\xd3\x1b\x96\xee\x4a\xf0\x87\x2c";
/// Random bytes with which every frame ends.
const END: [u8; 8] = *b"\x61\xc8\x05\xb9\xfd\x3e\x92\x74";
/// The number of bytes before the body: a marker and a length.
const BEFORE: usize = BEGIN.len() + 8;
const FIXED: usize = 1 + 8 + 4;
/// The maximum length of a body: larger frames are sent in pieces.
const LONGEST: usize = CHUNK + (1 << 12);
/// The maximum total size, in bytes, of parts that are copied into one write rather than written one by one.
const SMALL: usize = 1 << 14;

impl Frame {
    /// Reads the next frame. Returns `None` if the channel has ended between two frames.
    pub fn read(channel: &mut impl Read) -> io::Result<Option<Self>> {
        let mut before = [0; BEFORE];
        match channel.read(&mut before)? {
            0 => return Ok(None),
            read => channel.read_exact(&mut before[read..])?,
        }
        let length = length_in(&before)?;
        if length > LONGEST {
            return Err(cut());
        }
        let mut bytes = Vec::with_capacity(length + END.len());
        channel.take((length + END.len()) as u64).read_to_end(&mut bytes)?;
        if bytes.len() < length + END.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Self::parse_ended(&Bytes::from(bytes)).map(Some)
    }

    /// Parses a whole frame, markers and length included.
    pub fn parse_whole(whole: Vec<u8>) -> io::Result<Self> {
        let whole = Bytes::from(whole);
        let length = length_in(whole.first_chunk().ok_or_else(cut)?)?;
        if length.checked_add(BEFORE + END.len()) != Some(whole.len()) {
            return Err(cut());
        }
        Self::parse_ended(&whole.slice(BEFORE..))
    }

    /// Parses a body with the marker behind it.
    fn parse_ended(bytes: &Bytes) -> io::Result<Self> {
        let (body, end) = bytes.split_last_chunk().ok_or_else(cut)?;
        if *end != END {
            return Err(cut());
        }
        let length = body.len();
        Self::parse(&bytes.slice(..length))
    }

    fn parse(bytes: &Bytes) -> io::Result<Self> {
        let (fixed, rest) = bytes.split_first_chunk::<FIXED>().ok_or_else(cut)?;
        let number = u64::from_le_bytes(number_in(&fixed[1..9])?);
        let [a, b, c, d] = fixed[9..] else { return Err(cut()) };
        let count = u32::from_le_bytes([a, b, c, d]) as usize;
        let lengths = rest.get(..count.checked_mul(8).ok_or_else(cut)?).ok_or_else(cut)?;
        let mut start = FIXED + lengths.len();
        let mut parts = Vec::with_capacity(count);
        for length in lengths.chunks_exact(8) {
            let length = usize::try_from(u64::from_le_bytes(number_in(length)?)).map_err(|_| cut())?;
            let end = start.checked_add(length).filter(|end| *end <= bytes.len()).ok_or_else(cut)?;
            parts.push(bytes.slice(start..end));
            start = end;
        }
        Ok(Self { kind: Kind(fixed[0]), number, parts })
    }

    /// Creates a frame.
    pub fn new(kind: Kind, number: u64, parts: Vec<Bytes>) -> Self {
        Self { kind, number, parts }
    }

    /// Writes the frame. Large parts are not copied.
    pub fn write(&self, channel: &mut impl Write) -> io::Result<()> {
        let parts: Vec<&[u8]> = self.parts.iter().map(|part| &**part).collect();
        write(channel, Vec::new(), self.kind, self.number, &parts)
    }

    /// Returns the total size of the parts, in bytes.
    pub fn size(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }

    /// Returns the part at this position, or an empty one if there is none.
    pub fn part(&self, at: usize) -> Bytes {
        self.parts.get(at).cloned().unwrap_or_default()
    }
}

/// Appends a frame to `bytes`.
pub(crate) fn append(bytes: &mut Vec<u8>, kind: Kind, number: u64, parts: &[&[u8]]) {
    bytes.extend_from_slice(&head(kind, number, parts.iter().map(|part| part.len())));
    for part in parts {
        bytes.extend_from_slice(part);
    }
    bytes.extend_from_slice(&END);
}

/// Writes `before`, and then a frame. Large parts are not copied.
pub(crate) fn write(
    channel: &mut impl Write,
    mut before: Vec<u8>,
    kind: Kind,
    number: u64,
    parts: &[&[u8]],
) -> io::Result<()> {
    if parts.iter().map(|part| part.len()).sum::<usize>() <= SMALL {
        append(&mut before, kind, number, parts);
        return channel.write_all(&before);
    }
    before.extend_from_slice(&head(kind, number, parts.iter().map(|part| part.len())));
    channel.write_all(&before)?;
    parts.iter().try_for_each(|part| channel.write_all(part))?;
    channel.write_all(&END)
}

/// Returns the bytes of a frame before its parts, which have these lengths. The bytes of [`end`] follow the parts.
pub(crate) fn head(kind: Kind, number: u64, parts: impl ExactSizeIterator<Item = usize> + Clone) -> Vec<u8> {
    let size = FIXED + 8 * parts.len();
    let mut head = Vec::with_capacity(BEFORE + size);
    head.extend_from_slice(&BEGIN);
    head.extend_from_slice(&((size + parts.clone().sum::<usize>()) as u64).to_le_bytes());
    head.push(kind.0);
    head.extend_from_slice(&number.to_le_bytes());
    #[allow(clippy::cast_possible_truncation)] // A call has at most twelve arguments, a request fewer parts.
    head.extend_from_slice(&(parts.len() as u32).to_le_bytes());
    for part in parts {
        head.extend_from_slice(&(part as u64).to_le_bytes());
    }
    head
}

/// Returns the bytes after the parts of every frame.
pub(crate) const fn end() -> &'static [u8] {
    &END
}

/// Returns the length of the body from the bytes before it.
fn length_in(before: &[u8; BEFORE]) -> io::Result<usize> {
    let (begin, length) = before.split_at(BEGIN.len());
    if begin != BEGIN {
        return Err(cut());
    }
    usize::try_from(number(length)).map_err(|_| cut())
}

/// Decodes eight bytes as a number. Returns 0 for any other number of bytes.
pub fn number(bytes: &[u8]) -> u64 {
    number_in(bytes).map_or(0, u64::from_le_bytes)
}

fn number_in(bytes: &[u8]) -> io::Result<[u8; 8]> {
    bytes.try_into().map_err(|_| cut())
}

pub(crate) fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the bytes are not a complete message")
}

/// The size of a piece in bytes. Frames with more bytes are sent in pieces.
pub(crate) const CHUNK: usize = 1 << 18;

/// A large frame that is being sent.
pub(crate) struct Chunks<P> {
    number: u64,
    head: Vec<u8>,
    parts: Vec<P>,
    written: usize,
    total: usize,
}

impl<P: AsRef<[u8]>> Chunks<P> {
    /// Creates the frame of this kind, number and parts. No other large frame that is being sent has the number
    /// `stream`.
    pub(crate) fn new(stream: u64, kind: Kind, number: u64, parts: Vec<P>) -> Self {
        let head = head(kind, number, parts.iter().map(|part| part.as_ref().len()));
        let total = head.len() + parts.iter().map(|part| part.as_ref().len()).sum::<usize>() + end().len();
        Self { number: stream, head, parts, written: 0, total }
    }

    /// Writes the next piece. Returns whether there are more.
    pub(crate) fn write_next(&mut self, channel: &mut impl Write) -> io::Result<bool> {
        let mut left = CHUNK.min(self.total - self.written);
        let mut head = head(Kind::CHUNK, self.number, [8, left].into_iter());
        head.extend_from_slice(&(self.total as u64).to_le_bytes());
        channel.write_all(&head)?;
        let mut skip = self.written;
        self.written += left;
        let parts = self.parts.iter().map(AsRef::as_ref);
        for part in once(self.head.as_slice()).chain(parts).chain(once(end())) {
            let from = skip.min(part.len());
            let to = part.len().min(from + left);
            channel.write_all(&part[from..to])?;
            skip -= from;
            left -= to - from;
        }
        channel.write_all(end())?;
        Ok(self.written < self.total)
    }
}

/// Reads frames, and reassembles those that arrive in pieces.
pub struct Reader<R> {
    channel: BufReader<R>,
    begun: HashMap<u64, Vec<u8>>,
}

impl<R: Read> Reader<R> {
    /// Creates a reader of this stream.
    pub fn new(channel: R) -> Self {
        Self { channel: BufReader::with_capacity(1 << 16, channel), begun: HashMap::new() }
    }

    /// Returns the next whole frame, or `None` if the channel has ended between two frames.
    pub fn read(&mut self) -> io::Result<Option<Frame>> {
        while let Some(frame) = Frame::read(&mut self.channel)? {
            if frame.kind != Kind::CHUNK {
                return Ok(Some(frame));
            }
            if let Some(whole) = self.add(&frame)? {
                return Frame::parse_whole(whole).map(Some);
            }
        }
        Ok(None)
    }

    /// Adds a piece. Returns the whole frame if it was the last piece.
    fn add(&mut self, piece: &Frame) -> io::Result<Option<Vec<u8>>> {
        let total = usize::try_from(number(&piece.part(0))).map_err(|_| cut())?;
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

    const STARTED: Kind = Kind(32);
    const DONE: Kind = Kind(33);
    const TASK: Kind = Kind(34);

    #[test]
    fn written_frames_are_read_back() {
        let large = vec![7; 3 * SMALL];
        let parts: [&[u8]; 3] = [b"", b"ab", &large];
        let mut written = Vec::new();
        append(&mut written, STARTED, 1, &[]);
        let before = std::mem::take(&mut written);
        write(&mut written, before, DONE, 2, &parts).unwrap();
        let mut channel = &written[..];
        let (first, second) =
            (Frame::read(&mut channel).unwrap().unwrap(), Frame::read(&mut channel).unwrap().unwrap());
        assert_eq!((first.kind, first.number, first.parts.len()), (STARTED, 1, 0));
        assert_eq!((second.kind, second.number), (DONE, 2));
        assert_eq!(second.parts, parts);
        assert!(Frame::read(&mut channel).unwrap().is_none());
    }

    #[test]
    fn cut_frame_is_an_error_and_changed_frame_does_not_panic() {
        let mut whole = Vec::new();
        append(&mut whole, DONE, 2, &[b"one", b"two"]);
        for cut in 1..whole.len() {
            assert!(Frame::read(&mut &whole[..cut]).is_err(), "{cut}");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0xff;
            let _ = Frame::read(&mut &changed[..]);
        }
    }

    #[test]
    fn foreign_bytes_are_noticed_before_a_frame_is_misread() {
        let result = vec![3; 100];
        let mut whole = Vec::new();
        append(&mut whole, STARTED, 1, &[]);
        let first = whole.len();
        append(&mut whole, DONE, 1, &[b"took", &result]);
        let second = whole.len();
        append(&mut whole, STARTED, 2, &[]);
        let foreign: [&[u8]; 6] = [b"x", b"printed", &[0; 8], &[0xff; 64], &[3; 40], &(1_u64 << 40).to_le_bytes()];
        for foreign in foreign {
            for at in 0..=second {
                let (before, after) = whole.split_at(at);
                let bytes = [before, foreign, after].concat();
                let mut channel = &bytes[..];
                let mut kinds = Vec::new();
                let ended = loop {
                    match Frame::read(&mut channel) {
                        Ok(Some(frame)) => {
                            assert!(frame.kind != DONE || frame.parts[1] == result);
                            kinds.push(frame.kind);
                        }
                        ended => break ended,
                    }
                };
                // Frames that arrived whole before the foreign bytes are handled, and nothing after them.
                let whole = usize::from(at >= first) + usize::from(at >= second);
                assert_eq!(kinds, [STARTED, DONE][..whole], "{foreign:?} at {at}");
                assert!(ended.is_err());
            }
        }
    }

    fn frames(written: &[u8]) -> Vec<Frame> {
        let mut reader = Reader::new(written);
        std::iter::from_fn(|| reader.read().unwrap()).collect()
    }

    #[test]
    fn interleaved_frames_are_reassembled_and_small_frames_pass_between() {
        let large: Vec<u8> = (0..251).cycle().take(3 * CHUNK).collect();
        let mut first = Chunks::new(1, DONE, 7, vec![&b"ab"[..], &large]);
        let mut second = Chunks::new(2, TASK, 8, vec![&large[1..]]);
        let mut written = Vec::new();
        let (mut more_of_first, mut more_of_second) = (true, true);
        while more_of_first || more_of_second {
            more_of_first = more_of_first && first.write_next(&mut written).unwrap();
            write(&mut written, Vec::new(), STARTED, 9, &[]).unwrap();
            more_of_second = more_of_second && second.write_next(&mut written).unwrap();
        }
        let (small, whole): (Vec<_>, Vec<_>) = frames(&written).into_iter().partition(|frame| frame.kind == STARTED);
        assert_eq!(small.len(), 4);
        assert_eq!((whole[0].kind, whole[0].number, whole[1].kind, whole[1].number), (DONE, 7, TASK, 8));
        assert_eq!(whole[0].parts, [&b"ab"[..], &large]);
        assert_eq!(whole[1].parts, [&large[1..]]);
    }

    #[test]
    fn impossible_frame_size_is_an_error() {
        let mut piece = head(Kind::CHUNK, 1, [8, 1].into_iter());
        piece.extend_from_slice(&u64::MAX.to_le_bytes());
        piece.push(0);
        piece.extend_from_slice(end());
        assert!(Reader::new(&piece[..]).read().is_err());
    }
}
