//! Reads the encoded arguments of a bound call, or encodes them again.

use std::borrow::Borrow;

use serde::de;

use super::{
    arguments::Arguments,
    codec::{FullCodec, Owned},
    panics::deserialize_panicked,
};
use crate::{encoding::DecodeError, runtime::panics::contain};

/// Decodes arguments, in order.
#[derive(Debug)]
pub struct Reader<'a> {
    encoded: Vec<&'a [u8]>,
    at: usize,
    /// If set, the arguments are encoded again, and no function is called.
    rewritten: Option<&'a mut Rewritten>,
}

/// Arguments that were decoded and encoded again.
#[derive(Debug)]
pub(crate) struct Rewritten {
    pub(crate) arguments: Arguments,
    /// Whether exactly the expected number of arguments was read.
    pub(crate) whole: bool,
}

impl Default for Rewritten {
    fn default() -> Self {
        Self { arguments: Arguments::in_full(), whole: false }
    }
}

impl<'a> Reader<'a> {
    pub(crate) fn new(encoded: impl Iterator<Item = &'a [u8]>) -> Self {
        Self { encoded: encoded.collect(), at: 0, rewritten: None }
    }

    /// Creates a reader that encodes the arguments again, because they may not have the form that keys are made of. No
    /// function is called.
    pub(crate) fn rewriting(encoded: impl Iterator<Item = &'a [u8]>, rewritten: &'a mut Rewritten) -> Self {
        Self { rewritten: Some(rewritten), ..Self::new(encoded) }
    }

    /// Decodes the next argument.
    ///
    /// # Errors
    /// Fails if the encoding does not decode into this type.
    pub fn read<A: Owned + ?Sized>(&mut self, codec: &FullCodec<A>) -> Result<A::Owned, DecodeError> {
        let encoded = self.encoded.get(self.at).copied().unwrap_or_default();
        self.at += 1;
        let decoded = contain(|| (codec.decode)(encoded)).unwrap_or_else(|panic| Err(deserialize_panicked(&panic)))?;
        if let Some(rewritten) = &mut self.rewritten {
            rewritten.arguments.fill(|arguments| arguments.add(codec.codec, decoded.borrow()));
        }
        Ok(decoded)
    }

    /// Ends the reading after the last argument. On `Ok` the caller calls the function.
    ///
    /// # Errors
    /// Fails if there are more arguments, or if this reader only encodes them again.
    pub fn end(self) -> Result<(), DecodeError> {
        if self.at < self.encoded.len() {
            let (came, wanted) = (self.encoded.len(), self.at);
            return Err(de::Error::custom(format!("it takes {wanted} arguments, but {came} were given")));
        }
        match self.rewritten {
            None => Ok(()),
            Some(rewritten) => {
                rewritten.whole = true;
                Err(de::Error::custom("nothing is called"))
            }
        }
    }
}

impl Arguments {
    /// Returns a reader that decodes the arguments, in order.
    pub fn reader(&self) -> Reader<'_> {
        Reader::new(self.iter())
    }
}
