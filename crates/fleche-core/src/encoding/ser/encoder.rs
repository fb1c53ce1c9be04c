//! The buffer that an encoding goes to, and what surrounds the item that is being written.

use std::fmt;

use serde::Serialize;

use super::{Serializer, Span, Trace};
use crate::encoding::{EncodeError, MAX_DEPTH, head};

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
    pub(super) trace: Option<&'b mut Trace>,
}

/// What [`Encoder::leave`] needs to go back to where [`Encoder::enter`] was called.
pub(super) struct Outside {
    depth: usize,
    somes: usize,
}

impl<'b> Encoder<'b> {
    pub(super) fn new(bytes: &'b mut Vec<u8>, trace: Option<&'b mut Trace>) -> Self {
        Self { bytes, spans: Vec::new(), scratch: Vec::new(), depth: 0, somes: 0, splices: false, trace }
    }

    pub(super) fn enter(&mut self) -> Result<Outside, EncodeError> {
        let outside = Outside { depth: self.depth, somes: self.somes };
        self.depth += 1;
        self.somes = 0;
        if self.depth > MAX_DEPTH { Err(EncodeError::TooDeep) } else { Ok(outside) }
    }

    pub(super) fn leave(&mut self, outside: &Outside) {
        self.depth = outside.depth;
        self.somes = outside.somes;
    }

    pub(super) fn text(&mut self, text: &str) {
        head::write(self.bytes, head::TEXT, text.len() as u64);
        self.bytes.extend_from_slice(text.as_bytes());
    }

    pub(super) fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        value.serialize(Serializer { out: self, slot: None })
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
