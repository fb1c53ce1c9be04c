//! Maps and structs: entries sorted by the bytes of their encoded keys.

use std::cmp::Ordering;

use serde::{Serialize, ser};

use super::{Encoder, Feeding, Outside};
use crate::encoding::{EncodeError, diagnostic, head};

/// Where an entry stands in the buffer.
#[derive(Clone, Copy)]
pub(super) struct Span {
    key: usize,
    value: usize,
    end: usize,
}

pub(super) struct MapSerializer<'a, 'b> {
    out: &'a mut Encoder<'b>,
    outside: Outside,
    /// Where the map begins.
    start: usize,
    /// Where its first entry begins.
    content: usize,
    /// How many entries its head says it has.
    expected: usize,
    /// Which of the encoder's spans is the first of this map.
    first: usize,
    feeding: Feeding,
    /// Where the key without a value yet begins, and where it ends.
    key: Option<(usize, usize)>,
}

impl<'a, 'b> MapSerializer<'a, 'b> {
    pub(super) fn new(out: &'a mut Encoder<'b>, outside: Outside, expected: usize) -> Self {
        let start = out.bytes.len();
        head::write(out.bytes, head::MAP, expected as u64);
        let (content, first) = (out.bytes.len(), out.spans.len());
        Self { out, outside, start, content, expected, first, feeding: Feeding::default(), key: None }
    }

    fn key(&mut self, write: impl FnOnce(&mut Encoder<'b>) -> Result<(), EncodeError>) -> Result<(), EncodeError> {
        let start = self.out.bytes.len();
        if self.key.replace((start, start)).is_some() {
            return Err(EncodeError::Misuse("it wrote a map's key without a value"));
        }
        write(self.out)?;
        let end = self.out.bytes.len();
        self.key = Some((start, end));
        if let Some(last) = self.out.spans.get(self.first..).and_then(<[Span]>::last) {
            self.feeding.note(self.out.bytes[last.key..last.value].cmp(&self.out.bytes[start..end]));
        }
        Ok(())
    }

    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        let Some((key, start)) = self.key else {
            return Err(EncodeError::Misuse("it wrote a map's value without a key"));
        };
        self.out.value(value)?;
        self.key = None;
        self.out.spans.push(Span { key, value: start, end: self.out.bytes.len() });
        Ok(())
    }

    fn finish(self) -> Result<(), EncodeError> {
        let Self { out, start, content, first, .. } = self;
        if self.key.is_some() {
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

/// Puts the entries whose spans begin with the `first` into order; their bytes begin at `content`.
fn sort(out: &mut Encoder<'_>, first: usize, content: usize) -> Result<(), EncodeError> {
    let (bytes, spans) = (&mut *out.bytes, &mut out.spans[first..]);
    spans.sort_unstable_by(|a, b| bytes[a.key..a.value].cmp(&bytes[b.key..b.value]));
    if let Some([twice, _]) = spans.array_windows().find(|[a, b]| bytes[a.key..a.value] == bytes[b.key..b.value]) {
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
        self.key(|out| out.value(key))
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
                self.key(|out| {
                    out.text(key);
                    Ok(())
                })?;
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

    /// Whether the entries are in canonical order as they were written.
    fn ascends(self) -> bool {
        matches!(self, Self::Few | Self::Ascending)
    }
}
