//! Maps and structs: entries are sorted by the bytes of their encoded keys.

use super::encoder::{Encoder, Outer, Span};
use crate::{diagnostic::diagnostic, error::EncodeError, header, permuted_maps::EntryOrder};

/// The maximum number of entries for which space is reserved because of a map's size hint alone.
const MAX_RESERVED: usize = 64;

/// A map or struct that is being written.
pub(crate) struct MapSerializer<'a, 'b> {
    pub(crate) out: &'a mut Encoder<'b>,
    outer: Outer,
    /// The offset of the map.
    start: usize,
    /// The offset of the first entry.
    content: usize,
    /// The number of entries in the header.
    expected: usize,
    /// The index of this map's first span.
    first: usize,
    order: EntryOrder,
    /// The entry whose value is still missing.
    entry: Option<Span>,
}

impl<'a, 'b> MapSerializer<'a, 'b> {
    pub(crate) fn new(out: &'a mut Encoder<'b>, outer: Outer, expected: usize) -> Self {
        let start = out.bytes.len();
        header::write(out.bytes, header::MAP, expected as u64);
        let (content, first) = (out.bytes.len(), out.spans.len());
        out.reserve_spans(expected.min(MAX_RESERVED));
        Self { out, outer, start, content, expected, first, order: EntryOrder::default(), entry: None }
    }

    /// Records the key that begins at `key` and has just been written.
    pub(crate) fn end_key(&mut self, key: usize) -> Result<(), EncodeError> {
        let value = self.out.bytes.len();
        let entry = Span { prefix: prefix(self.out.bytes, key), key, value, end: value };
        if self.entry.replace(entry).is_some() {
            return Err(EncodeError::Misuse("it wrote a map's key without a value"));
        }
        if self.out.spans.len() > self.first
            && let Some(last) = self.out.spans.last()
        {
            self.order.add(last.compare(&entry, self.out.bytes));
        }
        Ok(())
    }

    /// Returns the entry whose key has been written, to be passed to [`end_value`](Self::end_value) after its value.
    #[inline]
    pub(crate) fn begin_value(&self) -> Result<Span, EncodeError> {
        self.entry.ok_or(EncodeError::Misuse("it wrote a map's value without a key"))
    }

    /// Records the entry, whose value has just been written.
    #[inline]
    pub(crate) fn end_value(&mut self, entry: Span) {
        self.entry = None;
        self.out.spans.push(Span { end: self.out.bytes.len(), ..entry });
    }

    /// Sorts the entries and corrects the header.
    pub(crate) fn finish(self) -> Result<(), EncodeError> {
        let Self { out, start, content, first, .. } = self;
        if self.entry.is_some() {
            return Err(EncodeError::Misuse("it wrote a map's key without a value"));
        }
        let count = out.spans.len() - first;
        if !self.order.is_ascending() {
            sort(out, first, content)?;
        }
        out.spans.truncate(first);
        if count != self.expected {
            header::rewrite(out.bytes, start, content - start, header::MAP, count as u64);
        }
        if count > 1
            && let Some(orders) = &mut out.orders
        {
            orders.record(&out.bytes[start..], self.order);
        }
        out.leave(&self.outer);
        Ok(())
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
