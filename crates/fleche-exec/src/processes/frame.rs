//! Frames: what goes over the channel between a pool and its workers.
//!
//! A frame is a mark (8 bytes), the length of its body (8), the body, and another mark (8). The body is the frame's kind (1),
//! a number (8), how many parts it has (4), the length of each part (8), and the parts. Numbers are little endian. Both ends
//! are the same binary, so nothing here is a format that has to stay.
//!
//! A body that writes into the channel, because it inherited or guessed the descriptor, shifts the marks. Therefore foreign
//! bytes between frames or within one are noticed before the frame is read as a message.

use std::io::{self, Read, Write};

use bytes::Bytes;

use super::pieces::PIECE;

/// What a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// Both ways, first of all. Part: the digest of the executable.
    Hello,
    /// To the worker: run call `number`. Parts: function, binding (or nothing), each argument.
    Task,
    /// To the worker: give back call `number`, or all of them (0), if they have not started.
    TakeBack,
    /// To the worker: what a request gave. Parts: see `stores`.
    Answer,
    /// To the worker: end, once everything accepted has run.
    End,
    /// To the pool: call `number` starts.
    Started,
    /// To the pool: call `number` has ended. Parts: nanoseconds, what was counted (or nothing), the encoded result.
    Done,
    /// To the pool: as `Done`, with an encoded error in place of the result.
    Failed,
    /// To the pool: the running task begins to wait. Part: the key of the call that it waits for; empty for anything else.
    Paused,
    /// To the pool: it goes on.
    Resumed,
    /// To the pool: tasks that will not start here, as asked for with `number`. Part: their numbers.
    TakenBack,
    /// To the pool: an operation on one of its stores. Parts: see `stores`.
    Request,
    /// To the pool: as `Request`, of a store that is asked where the question is read.
    QuickRequest,
    /// To the pool: as `QuickRequest`, without an answer. What follows it is read when it is done.
    Tell,
    /// Both ways: a piece of large frame `number` of this side. Parts: the bytes of the whole frame (8), and this piece.
    Piece,
}

const KINDS: [Kind; 15] = [
    Kind::Hello,
    Kind::Task,
    Kind::TakeBack,
    Kind::Answer,
    Kind::End,
    Kind::Started,
    Kind::Done,
    Kind::Failed,
    Kind::Paused,
    Kind::Resumed,
    Kind::TakenBack,
    Kind::Request,
    Kind::QuickRequest,
    Kind::Tell,
    Kind::Piece,
];

/// One message.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    pub(super) number: u64,
    pub(super) parts: Vec<Bytes>,
}

/// Random bytes, with which every frame begins.
const BEGIN: [u8; 8] = *b"\xd3\x1b\x96\xee\x4a\xf0\x87\x2c";
/// Random bytes, with which every frame ends.
const END: [u8; 8] = *b"\x61\xc8\x05\xb9\xfd\x3e\x92\x74";
/// The bytes before the body: a mark and a length.
const BEFORE: usize = BEGIN.len() + 8;
const FIXED: usize = 1 + 8 + 4;
/// The longest body: larger frames travel in pieces.
const LONGEST: usize = PIECE + (1 << 12);
/// Parts of less than this many bytes, together, are copied into one piece rather than written one by one.
const SMALL: usize = 1 << 14;

impl Frame {
    /// The next frame; `None` where the channel has ended between frames.
    pub(super) fn read(channel: &mut impl Read) -> io::Result<Option<Self>> {
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

    /// The frame of these bytes, its marks and length included.
    pub(super) fn of(whole: Vec<u8>) -> io::Result<Self> {
        let whole = Bytes::from(whole);
        let length = length_in(whole.first_chunk().ok_or_else(cut)?)?;
        if length.checked_add(BEFORE + END.len()) != Some(whole.len()) {
            return Err(cut());
        }
        Self::parse_ended(&whole.slice(BEFORE..))
    }

    /// The frame of this body and the mark behind it.
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
        let kind = *KINDS.get(usize::from(fixed[0])).ok_or_else(cut)?;
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
        Ok(Self { kind, number, parts })
    }

    /// A frame of these parts.
    pub(super) fn new(kind: Kind, number: u64, parts: Vec<Bytes>) -> Self {
        Self { kind, number, parts }
    }

    /// Writes it. Large parts are not copied.
    pub(super) fn write(&self, channel: &mut impl Write) -> io::Result<()> {
        let parts: Vec<&[u8]> = self.parts.iter().map(|part| &**part).collect();
        write(channel, Vec::new(), self.kind, self.number, &parts)
    }

    /// How many bytes its parts have.
    pub(super) fn size(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }

    /// The part at this place; empty where there is none.
    pub(super) fn part(&self, at: usize) -> Bytes {
        self.parts.get(at).cloned().unwrap_or_default()
    }
}

/// Appends a frame.
pub(super) fn append(bytes: &mut Vec<u8>, kind: Kind, number: u64, parts: &[&[u8]]) {
    bytes.extend_from_slice(&head(kind, number, parts.iter().map(|part| part.len())));
    for part in parts {
        bytes.extend_from_slice(part);
    }
    bytes.extend_from_slice(&END);
}

/// Writes a frame, after what is in `before`. Large parts are not copied.
pub(super) fn write(
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

/// Returns the bytes before parts of these lengths. After them comes [`end`].
pub(super) fn head(kind: Kind, number: u64, parts: impl ExactSizeIterator<Item = usize> + Clone) -> Vec<u8> {
    let size = FIXED + 8 * parts.len();
    let mut head = Vec::with_capacity(BEFORE + size);
    head.extend_from_slice(&BEGIN);
    head.extend_from_slice(&((size + parts.clone().sum::<usize>()) as u64).to_le_bytes());
    head.push(kind as u8);
    head.extend_from_slice(&number.to_le_bytes());
    #[allow(clippy::cast_possible_truncation)] // A call has twelve arguments, a request fewer parts.
    head.extend_from_slice(&(parts.len() as u32).to_le_bytes());
    for part in parts {
        head.extend_from_slice(&(part as u64).to_le_bytes());
    }
    head
}

/// Returns the bytes after the parts of every frame.
pub(super) const fn end() -> &'static [u8] {
    &END
}

/// The length that stands in the bytes before a body.
fn length_in(before: &[u8; BEFORE]) -> io::Result<usize> {
    let (begin, length) = before.split_at(BEGIN.len());
    if begin != BEGIN {
        return Err(cut());
    }
    usize::try_from(number(length)).map_err(|_| cut())
}

/// Eight bytes as a number.
pub(super) fn number(bytes: &[u8]) -> u64 {
    number_in(bytes).map_or(0, u64::from_le_bytes)
}

fn number_in(bytes: &[u8]) -> io::Result<[u8; 8]> {
    bytes.try_into().map_err(|_| cut())
}

pub(super) fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "bytes that are no message, or a part of one")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_reads_back() {
        let large = vec![7; 3 * SMALL];
        let parts: [&[u8]; 3] = [b"", b"ab", &large];
        let mut written = Vec::new();
        append(&mut written, Kind::Started, 1, &[]);
        let before = std::mem::take(&mut written);
        write(&mut written, before, Kind::Done, 2, &parts).unwrap();
        let mut channel = &written[..];
        let (first, second) =
            (Frame::read(&mut channel).unwrap().unwrap(), Frame::read(&mut channel).unwrap().unwrap());
        assert_eq!((first.kind, first.number, first.parts.len()), (Kind::Started, 1, 0));
        assert_eq!((second.kind, second.number), (Kind::Done, 2));
        assert_eq!(second.parts, parts);
        assert!(Frame::read(&mut channel).unwrap().is_none());
    }

    #[test]
    fn every_frame_that_is_cut_or_changed_is_an_error_or_another_frame() {
        let mut whole = Vec::new();
        append(&mut whole, Kind::Done, 2, &[b"one", b"two"]);
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
    fn foreign_bytes_are_noticed_before_the_frame_that_they_fall_into_is_taken_for_one() {
        let result = vec![3; 100];
        let mut whole = Vec::new();
        append(&mut whole, Kind::Started, 1, &[]);
        let first = whole.len();
        append(&mut whole, Kind::Done, 1, &[b"took", &result]);
        let second = whole.len();
        append(&mut whole, Kind::Started, 2, &[]);
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
                            assert!(frame.kind != Kind::Done || frame.parts[1] == result);
                            kinds.push(frame.kind);
                        }
                        ended => break ended,
                    }
                };
                // Frames that arrived whole before the foreign bytes are handled, and nothing after them.
                let whole = usize::from(at >= first) + usize::from(at >= second);
                assert_eq!(kinds, [Kind::Started, Kind::Done][..whole], "{foreign:?} at {at}");
                assert!(ended.is_err());
            }
        }
    }

    #[test]
    fn kinds_are_numbered_in_order() {
        assert!(KINDS.iter().enumerate().all(|(at, kind)| at == *kind as usize));
    }
}
