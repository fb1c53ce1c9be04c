//! Sequences and tuples: typed arrays where all elements are of one primitive number type, ordinary arrays otherwise.

use serde::{Serialize, ser};

use super::{Encoder, Outside, Serializer};
use crate::encoding::{EncodeError, head, number::Kind};

/// The most that is set aside for an array on the word of its size hint alone.
const MOST_RESERVED: usize = 16 << 20;

/// The head of the tag of a typed array: one byte, and the tag in another.
const TAG_HEAD: usize = 2;

/// An array that is being written.
///
/// Nothing is written before the second element (or the first that is not a number) says which form the array takes.
/// As long as all elements are of one kind it is a typed array; the first that is not turns it into an ordinary one.
pub(super) struct Array {
    /// The kind of the elements, in a typed array.
    typed: Option<Kind>,
    ordinary: bool,
    /// How many elements there are so far.
    count: usize,
    /// A single number, not written yet.
    first: Option<(Kind, [u8; 8])>,
    /// Where the array begins.
    start: usize,
    /// Where its elements begin.
    content: usize,
    /// How many elements there will be, as far as is known.
    expected: Option<usize>,
}

impl Array {
    /// Adds an element that is a number.
    #[inline]
    pub(super) fn number<const N: usize>(&mut self, out: &mut Encoder<'_>, kind: Kind, le: [u8; N]) {
        if self.typed == Some(kind) {
            self.count += 1;
            out.bytes.extend_from_slice(&le);
        } else {
            self.other_number(out, kind, &le);
        }
    }

    /// Makes way for an element that is not a number.
    #[inline]
    pub(super) fn item(&mut self, out: &mut Encoder<'_>) {
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
        out.bytes.reserve(length.min(MOST_RESERVED));
        head::write(out.bytes, head::TAG, kind.tag().into());
        head::write(out.bytes, head::BYTES, length as u64);
        self.content = out.bytes.len();
        self.typed = Some(kind);
    }

    fn make_ordinary(&mut self, out: &mut Encoder<'_>) {
        let typed = self.typed.take();
        let mut numbers = std::mem::take(&mut out.scratch);
        numbers.clear();
        if typed.is_some() {
            numbers.extend(out.bytes.drain(self.start..).skip(self.content - self.start));
        }
        head::write(out.bytes, head::ARRAY, self.expected.unwrap_or(0) as u64);
        self.content = out.bytes.len();
        self.ordinary = true;
        if let Some(kind) = typed {
            numbers.chunks_exact(kind.size()).for_each(|le| kind.read(le).write(out.bytes));
        } else if let Some((kind, le)) = self.first.take() {
            kind.read(&le).write(out.bytes);
        }
        out.scratch = numbers;
    }

    /// Writes what is still missing, and mends the head where the number of elements was not known.
    fn finish(&mut self, out: &mut Encoder<'_>) {
        let expected = self.expected.replace(self.count);
        if let Some(kind) = self.typed {
            if expected != Some(self.count) {
                let start = self.start + TAG_HEAD;
                let length = out.bytes.len() - self.content;
                debug_assert_eq!(length, self.count * kind.size());
                head::rewrite(out.bytes, start, self.content - start, head::BYTES, length as u64);
            }
        } else if !self.ordinary {
            self.make_ordinary(out);
        } else if expected != Some(self.count) {
            // Nested items may have grown in place, but never the head in front of the first.
            head::rewrite(out.bytes, self.start, self.content - self.start, head::ARRAY, self.count as u64);
        }
    }
}

pub(super) struct ArraySerializer<'a, 'b> {
    out: &'a mut Encoder<'b>,
    outside: Outside,
    array: Array,
}

impl<'a, 'b> ArraySerializer<'a, 'b> {
    pub(super) fn new(out: &'a mut Encoder<'b>, outside: Outside, expected: Option<usize>) -> Self {
        let start = out.bytes.len();
        let array = Array { typed: None, ordinary: false, count: 0, first: None, start, content: start, expected };
        Self { out, outside, array }
    }

    #[inline]
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        value.serialize(Serializer { out: self.out, slot: Some(&mut self.array) })
    }

    fn finish(mut self) {
        self.array.finish(self.out);
        self.out.leave(&self.outside);
    }
}

macro_rules! array_like {
    ($($interface:ident $method:ident;)*) => {$(
        impl ser::$interface for ArraySerializer<'_, '_> {
            type Ok = ();
            type Error = EncodeError;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
                self.element(value)
            }

            fn end(self) -> Result<(), EncodeError> {
                self.finish();
                Ok(())
            }
        }
    )*};
}

array_like! {
    SerializeSeq serialize_element;
    SerializeTuple serialize_element;
    SerializeTupleStruct serialize_field;
    SerializeTupleVariant serialize_field;
}
