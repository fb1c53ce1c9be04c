//! Maps and structs: entries are sorted by the bytes of their encoded keys.

use std::cmp::Ordering;

use serde::{Serialize, ser};

use super::{Encoder, Feeding, Outside};
use crate::encoding::{EncodeError, diagnostic, head};

/// The maximum number of entries for which space is reserved because of a map's size hint alone.
const MOST_RESERVED: usize = 64;

/// The offsets of an entry in the buffer.
#[derive(Clone, Copy)]
pub(super) struct Span {
    /// The first eight bytes of the key, which almost always distinguish it from others.
    prefix: u64,
    key: usize,
    value: usize,
    end: usize,
}

impl Span {
    /// Compares the keys of two entries. No key is a prefix of another, because no item is.
    #[inline]
    fn compare(&self, other: &Self, bytes: &[u8]) -> Ordering {
        self.prefix.cmp(&other.prefix).then_with(|| bytes[self.key..self.value].cmp(&bytes[other.key..other.value]))
    }
}

/// Returns the first eight bytes of the item at the end of the buffer, padded with zeros if it is shorter.
#[inline]
fn prefix(bytes: &[u8], start: usize) -> u64 {
    let item = bytes.get(start..).unwrap_or_default();
    match (item.first_chunk(), bytes.last_chunk()) {
        (Some(first), _) => u64::from_be_bytes(*first),
        // The bytes before the item are shifted out; no item is empty.
        (None, Some(last)) => u64::from_be_bytes(*last) << (64 - 8 * item.len()).min(63),
        (None, None) => {
            item.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)) << (64 - 8 * item.len()).min(63)
        }
    }
}

pub(super) struct MapSerializer<'a, 'b> {
    out: &'a mut Encoder<'b>,
    outside: Outside,
    /// The offset of the map.
    start: usize,
    /// The offset of its first entry.
    content: usize,
    /// The number of entries in its head.
    expected: usize,
    /// The index of this map's first span.
    first: usize,
    feeding: Feeding,
    /// The entry whose value is still missing.
    entry: Option<Span>,
}

impl<'a, 'b> MapSerializer<'a, 'b> {
    pub(super) fn new(out: &'a mut Encoder<'b>, outside: Outside, expected: usize) -> Self {
        let start = out.bytes.len();
        head::write(out.bytes, head::MAP, expected as u64);
        let (content, first) = (out.bytes.len(), out.spans.len());
        out.reserve_spans(expected.min(MOST_RESERVED));
        Self { out, outside, start, content, expected, first, feeding: Feeding::default(), entry: None }
    }

    /// Records the key that begins at `key` and has just been written.
    fn note(&mut self, key: usize) -> Result<(), EncodeError> {
        let value = self.out.bytes.len();
        let entry = Span { prefix: prefix(self.out.bytes, key), key, value, end: value };
        if self.entry.replace(entry).is_some() {
            return Err(EncodeError::Misuse("it wrote a map's key without a value"));
        }
        if self.out.spans.len() > self.first
            && let Some(last) = self.out.spans.last()
        {
            self.feeding.note(last.compare(&entry, self.out.bytes));
        }
        Ok(())
    }

    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        let Some(entry) = self.entry else {
            return Err(EncodeError::Misuse("it wrote a map's value without a key"));
        };
        self.out.value(value)?;
        self.entry = None;
        self.out.spans.push(Span { end: self.out.bytes.len(), ..entry });
        Ok(())
    }

    fn finish(self) -> Result<(), EncodeError> {
        let Self { out, start, content, first, .. } = self;
        if self.entry.is_some() {
            return Err(EncodeError::Misuse("it wrote a map's key without a value"));
        }
        let count = out.spans.len() - first;
        if !self.feeding.ascends() {
            sort(out, first, content)?;
        }
        out.spans.truncate(first);
        if count != self.expected {
            head::rewrite(out.bytes, start, content - start, head::MAP, count as u64);
        }
        if count > 1
            && let Some(trace) = &mut out.trace
        {
            trace.note(&out.bytes[start..], self.feeding);
        }
        out.leave(&self.outside);
        Ok(())
    }
}

/// Sorts the entries from span `first` on; their bytes begin at `content`.
fn sort(out: &mut Encoder<'_>, first: usize, content: usize) -> Result<(), EncodeError> {
    let (bytes, spans) = (&mut *out.bytes, &mut out.spans[first..]);
    spans.sort_unstable_by(|a, b| a.compare(b, bytes));
    if let Some([twice, _]) = spans.array_windows().find(|[a, b]| a.compare(b, bytes).is_eq()) {
        return Err(EncodeError::DuplicateKey { key: diagnostic(&bytes[twice.key..twice.value]).into() });
    }
    out.scratch.clear();
    out.scratch.extend_from_slice(&bytes[content..]);
    bytes.truncate(content);
    for span in spans {
        bytes.extend_from_slice(&out.scratch[span.key - content..span.end - content]);
    }
    Ok(())
}

impl ser::SerializeMap for MapSerializer<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), EncodeError> {
        let start = self.out.bytes.len();
        self.out.value(key)?;
        self.note(start)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.value(value)
    }

    fn end(self) -> Result<(), EncodeError> {
        self.finish()
    }
}

macro_rules! struct_like {
    ($($interface:ident)*) => {$(
        impl ser::$interface for MapSerializer<'_, '_> {
            type Ok = ();
            type Error = EncodeError;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), EncodeError> {
                let start = self.out.bytes.len();
                self.out.text(key);
                self.note(start)?;
                self.value(value)
            }

            fn end(self) -> Result<(), EncodeError> {
                self.finish()
            }
        }
    )*};
}

struct_like! { SerializeStruct SerializeStructVariant }

impl Feeding {
    fn note(&mut self, order: Ordering) {
        *self = match (*self, order) {
            (Self::Few | Self::Ascending, Ordering::Less) => Self::Ascending,
            (Self::Few | Self::Descending, Ordering::Greater) => Self::Descending,
            _ => Self::Mixed,
        };
    }

    /// Returns whether the entries were written in canonical order.
    fn ascends(self) -> bool {
        matches!(self, Self::Few | Self::Ascending)
    }
}
