//! Arguments that remember their digests: only those stand among the encodings, until somebody wants more.

use std::{borrow::Cow, sync::Arc};

use super::{Arguments, panicked};
use crate::{
    call::{INLINE_LIMIT, Reference, ValueRef},
    digest::Digest,
    encoding::{EncodeError, kept::Kept},
    panics::{Contained, contain},
};

/// Stands before the 32 bytes of a digest, in place of an encoding. No encoding begins with it: it ends what has no length
/// (RFC 8949 §3.2.1), which this format does not have.
const DIGEST: u8 = 0xff;

impl Arguments {
    /// None yet, of which all will stand there encoded: for calls that leave this thread.
    pub(crate) fn in_full() -> Self {
        let mut arguments = Self::new();
        arguments.in_full = true;
        arguments
    }

    /// Adds what stands for the next argument.
    #[cold]
    pub(super) fn keep(&mut self, kept: Arc<dyn Kept>) -> Result<(), EncodeError> {
        let hash = if self.in_full { None } else { kept.hash()? };
        let Some(hash) = hash else { return kept.encode(&mut self.bytes) };
        self.bytes.push(DIGEST);
        self.bytes.extend_from_slice(&hash);
        self.kept.push((self.ends.len(), Contained::new(kept)));
        Ok(())
    }

    /// The same arguments in full; `None` where these are.
    ///
    /// # Errors
    /// Which argument cannot be encoded, and why.
    pub(in crate::memo) fn filled(&self) -> Result<Option<Self>, (usize, EncodeError)> {
        if self.kept.is_empty() {
            return Ok(None);
        }
        let mut full = Self::NONE;
        for (at, standing) in self.iter().enumerate() {
            let encoded = self.encoding(at, standing).map_err(|error| (at, error))?;
            full.bytes.extend_from_slice(&encoded);
            full.ends.push(full.bytes.len());
        }
        Ok(Some(full))
    }

    /// The encoding of the argument at this place, for which this stands.
    ///
    /// # Errors
    /// Where it has none any more.
    pub(in crate::memo) fn encoding<'a>(&self, at: usize, standing: &'a [u8]) -> Result<Cow<'a, [u8]>, EncodeError> {
        match self.kept.iter().find(|(place, _)| *place == at) {
            None => Ok(Cow::Borrowed(standing)),
            Some((_, kept)) => {
                let mut encoded = Vec::new();
                contain(|| kept.encode(&mut encoded)).unwrap_or_else(|panic| Err(panicked(&panic)))?;
                Ok(Cow::Owned(encoded))
            }
        }
    }
}

/// The reference to the value for which this stands.
pub(super) fn reference(standing: &[u8]) -> ValueRef {
    digest(standing).map_or_else(|| ValueRef::of(standing), ValueRef::Stored)
}

/// The same, without a copy of what stands inline.
pub(super) fn borrowed_reference(standing: &[u8]) -> Reference<'_> {
    match digest(standing) {
        Some(digest) => Reference::Stored(digest),
        None if standing.len() <= INLINE_LIMIT => Reference::Inline(standing),
        None => Reference::Stored(Digest::of(standing)),
    }
}

/// The digest, if it is one that stands there.
#[inline]
fn digest(standing: &[u8]) -> Option<Digest> {
    let digest = standing.strip_prefix(&[DIGEST])?;
    digest.try_into().ok().map(Digest::from_bytes)
}
