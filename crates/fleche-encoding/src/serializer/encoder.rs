//! The buffer that an encoding is written to, and the state of the unfinished items.

use std::{cell::Cell, cmp::Ordering, fmt, mem, sync::Arc};

use crate::{digest::CachedDigest, error::EncodeError, header, header::MAX_DEPTH, permuted_maps::EntryOrders};

/// The buffer and the state of the unfinished items.
pub(crate) struct Encoder<'b> {
    pub(crate) bytes: &'b mut Vec<u8>,
    /// The entries of all unfinished maps, those of outer maps first.
    pub(crate) spans: Vec<Span>,
    /// Scratch space for sorting and formatting.
    pub(crate) scratch: Vec<u8>,
    pub(crate) depth: usize,
    /// The number of `Some`s around the current item, within the innermost container.
    pub(crate) somes: usize,
    /// Whether byte strings hold an encoded item, to be spliced in.
    pub(crate) splices: bool,
    /// Whether an item was left unfinished.
    broken: bool,
    /// The place to record the order of the entries of maps.
    pub(crate) orders: Option<&'b mut EntryOrders>,
    /// The place for a value with a cached digest, if the whole value is one.
    pub(crate) cached: Option<&'b mut Option<Arc<dyn CachedDigest>>>,
}

/// The maximum capacity of buffers that are kept for the next encoding.
const MAX_SPANS: usize = 1 << 10;
const MAX_SCRATCH: usize = 1 << 16;

thread_local! {
    /// The buffers for spans and scratch that earlier encodings of this thread left.
    static SPARE: Cell<(Vec<Span>, Vec<u8>)> = const { Cell::new((Vec::new(), Vec::new())) };
}

/// The offsets of an entry in the buffer.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    /// The first eight bytes of the key, which almost always distinguish it from others.
    pub(crate) prefix: u64,
    pub(crate) key: usize,
    pub(crate) value: usize,
    pub(crate) end: usize,
}

impl Span {
    /// Compares the keys of two entries. No key is a prefix of another, because no item is.
    #[inline]
    pub(crate) fn compare(&self, other: &Self, bytes: &[u8]) -> Ordering {
        self.prefix.cmp(&other.prefix).then_with(|| bytes[self.key..self.value].cmp(&bytes[other.key..other.value]))
    }
}

/// The state before [`Encoder::enter`], which [`Encoder::leave`] restores.
pub(crate) struct Outer {
    /// The number of levels to leave.
    levels: usize,
    somes: usize,
}

impl<'b> Encoder<'b> {
    #[inline]
    pub(crate) fn new(bytes: &'b mut Vec<u8>, orders: Option<&'b mut EntryOrders>) -> Self {
        let (spans, scratch) = (Vec::new(), Vec::new());
        Self { bytes, spans, scratch, depth: 0, somes: 0, splices: false, broken: false, orders, cached: None }
    }

    /// Reserves space for the entries of a map. The first map takes the buffers that earlier encodings of this thread
    /// left.
    #[inline]
    pub(crate) fn reserve_spans(&mut self, count: usize) {
        if self.spans.capacity() == 0 {
            let (spans, scratch) = SPARE.try_with(Cell::take).unwrap_or_default();
            self.spans = spans;
            if self.scratch.capacity() == 0 {
                self.scratch = scratch;
            }
        }
        self.spans.reserve(count);
    }

    /// Leaves the buffers for maps to the next encoding of this thread.
    #[inline]
    pub(crate) fn leave_spare(&mut self) {
        if (1..=MAX_SPANS).contains(&self.spans.capacity()) && self.scratch.capacity() <= MAX_SCRATCH {
            self.spans.clear();
            let spare = (mem::take(&mut self.spans), mem::take(&mut self.scratch));
            // While a thread ends, the buffers are dropped.
            let _ = SPARE.try_with(|left| left.set(spare));
        }
    }

    #[inline]
    pub(crate) fn enter(&mut self) -> Result<Outer, EncodeError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(EncodeError::TooDeep);
        }
        Ok(Outer { levels: 1, somes: mem::take(&mut self.somes) })
    }

    #[inline]
    pub(crate) fn leave(&mut self, outside: &Outer) {
        // An item that failed inside has not restored its own outer state.
        self.broken |= self.somes != 0;
        self.depth -= outside.levels;
        self.somes = outside.somes;
    }

    /// Returns whether every item that was begun has been finished.
    #[inline]
    pub(crate) fn is_complete(&self) -> bool {
        self.depth == 0 && self.somes == 0 && !self.broken
    }

    #[inline]
    pub(crate) fn text(&mut self, text: &str) {
        header::append_text(self.bytes, text);
    }

    /// Begins the one-entry map of an enum variant whose content is an array or a map, and enters the content.
    pub(crate) fn variant_of_many(&mut self, name: &str) -> Result<Outer, EncodeError> {
        let outside = self.variant(name)?;
        self.enter()?;
        Ok(Outer { levels: 2, ..outside })
    }

    /// Begins the one-entry map of an enum variant with content.
    pub(crate) fn variant(&mut self, name: &str) -> Result<Outer, EncodeError> {
        let outside = self.enter()?;
        header::write(self.bytes, header::MAP, 1);
        self.text(name);
        Ok(outside)
    }
}

/// A `fmt::Write` that appends to the buffer.
pub(crate) struct Text<'a>(pub(crate) &'a mut Vec<u8>);

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}
