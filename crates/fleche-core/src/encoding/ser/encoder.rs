//! The buffer that an encoding goes to, and what surrounds the item that is being written.

use std::{cell::Cell, fmt, mem, sync::Arc};

use serde::Serialize;

use super::{Serializer, Span, Trace};
use crate::encoding::{EncodeError, MAX_DEPTH, head, item, kept::Kept};

/// The buffer, and what has to be known about the items that are not finished yet.
pub(super) struct Encoder<'b> {
    pub(super) bytes: &'b mut Vec<u8>,
    /// The entries of all unfinished maps, outer ones first.
    pub(super) spans: Vec<Span>,
    /// Room for what has to be moved.
    pub(super) scratch: Vec<u8>,
    pub(super) depth: usize,
    /// How many `Some`s there are around the current item within the innermost container.
    pub(super) somes: usize,
    /// Whether bytes are an item that is encoded already.
    pub(super) splices: bool,
    /// Whether an item was left unfinished.
    broken: bool,
    pub(super) trace: Option<&'b mut Trace>,
    /// Where a value goes that remembers its digest, in place of its encoding, if that is the whole.
    pub(super) kept: Option<&'b mut Option<Arc<dyn Kept>>>,
}

/// More room than this is not left to the next encoding.
const MOST_SPANS: usize = 1 << 10;
const MOST_SCRATCH: usize = 1 << 16;

thread_local! {
    /// Room for spans, which are all of maps that are finished, and scratch.
    static SPARE: Cell<(Vec<Span>, Vec<u8>)> = const { Cell::new((Vec::new(), Vec::new())) };
}

/// What [`Encoder::leave`] needs to go back to where [`Encoder::enter`] was called.
pub(super) struct Outside {
    /// How many levels to go back.
    levels: usize,
    somes: usize,
}

impl<'b> Encoder<'b> {
    #[inline]
    pub(super) fn new(bytes: &'b mut Vec<u8>, trace: Option<&'b mut Trace>) -> Self {
        let (spans, scratch) = (Vec::new(), Vec::new());
        Self { bytes, spans, scratch, depth: 0, somes: 0, splices: false, broken: false, trace, kept: None }
    }

    /// Makes room for the entries of a map, in what earlier encodings of this thread have left where it is the first.
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

    /// Leaves the room for maps to the next encoding of this thread.
    #[inline]
    pub(super) fn leave_spare(&mut self) {
        if (1..=MOST_SPANS).contains(&self.spans.capacity()) && self.scratch.capacity() <= MOST_SCRATCH {
            self.spans.clear();
            let spare = (mem::take(&mut self.spans), mem::take(&mut self.scratch));
            // A thread that ends has no use for it.
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
        // An item that failed inside has not gone back to its own outside.
        self.broken |= self.somes != 0;
        self.depth -= outside.levels;
        self.somes = outside.somes;
    }

    /// Whether each item that was begun has been finished.
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

    /// Begins the one-entry map of an enum variant whose content is an array or a map, and the content.
    pub(super) fn variant_of_many(&mut self, name: &str) -> Result<Outside, EncodeError> {
        let outside = self.variant(name)?;
        self.enter()?;
        Ok(Outside { levels: 2, ..outside })
    }

    /// Begins the one-entry map of an enum variant that has content.
    pub(super) fn variant(&mut self, name: &str) -> Result<Outside, EncodeError> {
        let outside = self.enter()?;
        head::write(self.bytes, head::MAP, 1);
        self.text(name);
        Ok(outside)
    }
}

/// Lets `Display` write into the buffer.
pub(super) struct Text<'a>(pub(super) &'a mut Vec<u8>);

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}
