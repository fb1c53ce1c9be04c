//! The buffer that an encoding is written to, and the state of the unfinished items.

use std::{cell::Cell, fmt, mem, sync::Arc};

use serde::Serialize;

use super::{Serializer, Span, Trace};
use crate::encoding::{EncodeError, MAX_DEPTH, head, item, kept::Kept};

/// The buffer and the state of the unfinished items.
pub(super) struct Encoder<'b> {
    pub(super) bytes: &'b mut Vec<u8>,
    /// The entries of all unfinished maps, those of outer maps first.
    pub(super) spans: Vec<Span>,
    /// Scratch space for sorting and formatting.
    pub(super) scratch: Vec<u8>,
    pub(super) depth: usize,
    /// The number of `Some`s around the current item, within the innermost container.
    pub(super) somes: usize,
    /// Whether byte strings hold an encoded item, to be spliced in.
    pub(super) splices: bool,
    /// Whether an item was left unfinished.
    broken: bool,
    pub(super) trace: Option<&'b mut Trace>,
    /// The place for a value with a cached digest, if the whole value is one.
    pub(super) kept: Option<&'b mut Option<Arc<dyn Kept>>>,
}

/// Buffers with a larger capacity than this are not kept for the next encoding.
const MOST_SPANS: usize = 1 << 10;
const MOST_SCRATCH: usize = 1 << 16;

thread_local! {
    /// Buffers for spans and scratch that earlier encodings of this thread left.
    static SPARE: Cell<(Vec<Span>, Vec<u8>)> = const { Cell::new((Vec::new(), Vec::new())) };
}

/// The state that [`Encoder::leave`] restores to what it was before [`Encoder::enter`].
pub(super) struct Outside {
    /// How many levels to leave.
    levels: usize,
    somes: usize,
}

impl<'b> Encoder<'b> {
    #[inline]
    pub(super) fn new(bytes: &'b mut Vec<u8>, trace: Option<&'b mut Trace>) -> Self {
        let (spans, scratch) = (Vec::new(), Vec::new());
        Self { bytes, spans, scratch, depth: 0, somes: 0, splices: false, broken: false, trace, kept: None }
    }

    /// Reserves space for the entries of a map. The first map takes the buffers that earlier encodings of this thread
    /// left.
    #[inline]
    pub(super) fn reserve_spans(&mut self, count: usize) {
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
    pub(super) fn leave_spare(&mut self) {
        if (1..=MOST_SPANS).contains(&self.spans.capacity()) && self.scratch.capacity() <= MOST_SCRATCH {
            self.spans.clear();
            let spare = (mem::take(&mut self.spans), mem::take(&mut self.scratch));
            // While a thread ends, the buffers are dropped.
            let _ = SPARE.try_with(|kept| kept.set(spare));
        }
    }

    #[inline]
    pub(super) fn enter(&mut self) -> Result<Outside, EncodeError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(EncodeError::TooDeep);
        }
        Ok(Outside { levels: 1, somes: mem::take(&mut self.somes) })
    }

    #[inline]
    pub(super) fn leave(&mut self, outside: &Outside) {
        // An item that failed inside has not restored its own outer state.
        self.broken |= self.somes != 0;
        self.depth -= outside.levels;
        self.somes = outside.somes;
    }

    /// Returns whether every item that was begun has been finished.
    #[inline]
    pub(super) fn is_whole(&self) -> bool {
        self.depth == 0 && self.somes == 0 && !self.broken
    }

    #[inline]
    pub(super) fn text(&mut self, text: &str) {
        item::text(self.bytes, text);
    }

    pub(super) fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        value.serialize(Serializer { out: self, slot: None })
    }

    /// Begins the one-entry map of an enum variant whose content is an array or a map, and enters the content.
    pub(super) fn variant_of_many(&mut self, name: &str) -> Result<Outside, EncodeError> {
        let outside = self.variant(name)?;
        self.enter()?;
        Ok(Outside { levels: 2, ..outside })
    }

    /// Begins the one-entry map of an enum variant with content.
    pub(super) fn variant(&mut self, name: &str) -> Result<Outside, EncodeError> {
        let outside = self.enter()?;
        head::write(self.bytes, head::MAP, 1);
        self.text(name);
        Ok(outside)
    }
}

/// A `fmt::Write` that appends to the buffer.
pub(super) struct Text<'a>(pub(super) &'a mut Vec<u8>);

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}
