//! Sequences and tuples: typed arrays if all elements are of one primitive number type, ordinary arrays otherwise.

use serde::Serialize;

use super::{
    encoder::{Encoder, Outer},
    number_probe::{Le, NumberProbe},
};
use crate::{
    header,
    number::{Kind, Number},
};

/// The maximum number of bytes that are reserved for an array because of its size hint alone.
const MAX_RESERVED: usize = 16 << 20;

/// The number of elements from which gathering numbers pays off.
pub(crate) const LONG: usize = 32;

/// The number of bytes of numbers that are gathered before they are written to the buffer.
const BLOCK: usize = 512;

/// The length in bytes of the header of a typed array's tag.
const TAG_HEAD: usize = 2;

/// An array that is being written.
///
/// Nothing is written before the second element (or the first that is not a number) decides the form of the array. As
/// long as all elements are of one kind, it is a typed array; the first other element turns it into an ordinary one.
pub(crate) struct Array {
    /// The kind of the elements, if this is a typed array.
    typed: Option<Kind>,
    ordinary: bool,
    /// The number of elements that have been added.
    count: usize,
    /// A single number that is not written yet.
    first: Option<(Kind, [u8; 8])>,
    /// The offset of the array.
    start: usize,
    /// The offset of the elements.
    content: usize,
    /// The expected number of elements, if known.
    expected: Option<usize>,
}

impl Array {
    /// Adds a number as an element, given as its bytes and as its value.
    #[inline]
    pub(crate) fn number<const N: usize>(&mut self, out: &mut Encoder<'_>, kind: Kind, le: [u8; N], number: Number) {
        if self.typed == Some(kind) {
            self.count += 1;
            out.bytes.extend_from_slice(&le);
        } else if self.ordinary {
            self.count += 1;
            number.write(out.bytes);
        } else {
            self.other_number(out, kind, &le);
        }
    }

    /// Prepares for an element that is not a number.
    #[inline]
    pub(crate) fn item(&mut self, out: &mut Encoder<'_>) {
        if !self.ordinary {
            self.make_ordinary(out);
        }
        self.count += 1;
    }

    #[inline(never)]
    fn other_number(&mut self, out: &mut Encoder<'_>, kind: Kind, le: &[u8]) {
        match self.first {
            None if self.count == 0 => {
                let mut first = [0; 8];
                first[..le.len()].copy_from_slice(le);
                self.first = Some((kind, first));
                self.count = 1;
            }
            Some((one, first)) if one == kind => {
                self.first = None;
                self.make_typed(out, kind);
                out.bytes.extend_from_slice(&first[..le.len()]);
                out.bytes.extend_from_slice(le);
                self.count = 2;
            }
            _ => {
                self.item(out);
                kind.read(le).write(out.bytes);
            }
        }
    }

    fn make_typed(&mut self, out: &mut Encoder<'_>, kind: Kind) {
        let length = self.expected.and_then(|count| count.checked_mul(kind.size())).unwrap_or(0);
        out.bytes.reserve(length.min(MAX_RESERVED));
        header::write(out.bytes, header::TAG, kind.tag().into());
        header::write(out.bytes, header::BYTES, length as u64);
        self.content = out.bytes.len();
        self.typed = Some(kind);
    }

    fn make_ordinary(&mut self, out: &mut Encoder<'_>) {
        self.ordinary = true;
        let Some(kind) = self.typed.take() else {
            header::write(out.bytes, header::ARRAY, self.expected.unwrap_or(0) as u64);
            self.content = out.bytes.len();
            if let Some((kind, le)) = self.first {
                kind.read(&le).write(out.bytes);
            }
            return;
        };
        let numbers = out.bytes.split_off(self.content);
        out.bytes.truncate(self.start);
        header::write(out.bytes, header::ARRAY, self.expected.unwrap_or(0) as u64);
        self.content = out.bytes.len();
        for le in numbers.chunks_exact(kind.size()) {
            kind.read(le).write(out.bytes);
        }
    }

    /// Writes the missing end, and corrects the header if the number of elements differs from the expected one.
    fn finish(&mut self, out: &mut Encoder<'_>) {
        let expected = self.expected.replace(self.count);
        if let Some(kind) = self.typed {
            if expected != Some(self.count) {
                let start = self.start + TAG_HEAD;
                let length = out.bytes.len() - self.content;
                debug_assert_eq!(length, self.count * kind.size());
                header::rewrite(out.bytes, start, self.content - start, header::BYTES, length as u64);
            }
        } else if !self.ordinary {
            self.make_ordinary(out);
        } else if expected != Some(self.count) {
            // Nested items may have grown, but the offset of the first element is unchanged.
            header::rewrite(out.bytes, self.start, self.content - self.start, header::ARRAY, self.count as u64);
        }
    }
}

/// An array that is being written, and the encoder that it is written to.
pub(crate) struct ArraySerializer<'a, 'b> {
    pub(crate) out: &'a mut Encoder<'b>,
    outer: Outer,
    pub(crate) array: Array,
}

impl<'a, 'b> ArraySerializer<'a, 'b> {
    pub(crate) fn new(out: &'a mut Encoder<'b>, outer: Outer, expected: Option<usize>) -> Self {
        let start = out.bytes.len();
        let array = Array { typed: None, ordinary: false, count: 0, first: None, start, content: start, expected };
        Self { out, outer, array }
    }

    /// Adds elements as long as they are numbers of the typed array. Returns the first that is not, if there is one.
    ///
    /// They are gathered in blocks, which saves a capacity check of the buffer for each of them.
    pub(crate) fn numbers<T: Serialize>(&mut self, elements: &mut impl Iterator<Item = T>) -> Option<T> {
        let kind = self.array.typed?;
        let mut block = [0; BLOCK];
        let mut filled = 0;
        for element in elements {
            let number = element.serialize(NumberProbe).ok().filter(|(found, _)| *found == kind);
            let written = match number {
                Some((_, Le::One(le))) => put(&mut block, filled, le),
                Some((_, Le::Two(le))) => put(&mut block, filled, le),
                Some((_, Le::Four(le))) => put(&mut block, filled, le),
                Some((_, Le::Eight(le))) => put(&mut block, filled, le),
                None => {
                    self.flush(kind, &block[..filled]);
                    return Some(element);
                }
            };
            filled += written;
            if filled == BLOCK {
                self.flush(kind, &block);
                filled = 0;
            }
        }
        self.flush(kind, &block[..filled]);
        None
    }

    fn flush(&mut self, kind: Kind, block: &[u8]) {
        self.array.count += block.len() / kind.size();
        self.out.bytes.extend_from_slice(block);
    }

    pub(crate) fn finish(mut self) {
        self.array.finish(self.out);
        self.out.leave(&self.outer);
    }
}

/// Copies a number into the block, whose size is a multiple of every number's size, and returns the number's size.
#[inline]
fn put<const N: usize>(block: &mut [u8; BLOCK], filled: usize, le: [u8; N]) -> usize {
    if let Some(place) = block.get_mut(filled..).and_then(<[u8]>::first_chunk_mut) {
        *place = le;
    }
    N
}
