//! Arguments that remember their digests. The digest replaces the encoding until the encoding is needed.

use std::{borrow::Cow, sync::Arc};

use fleche_encoding::{Digest, EncodeError, spi::CachedDigest};

use super::{Arguments, panicked};
use crate::{
    call::{INLINE_LIMIT, Reference, ValueRef},
    runtime::panics::{Contained, contain},
};

/// The byte before the 32 bytes of a digest that replaces an encoding. No encoding begins with it: it is the "break" that
/// ends items of indefinite length (RFC 8949 §3.2.1), which this format does not use.
const DIGEST: u8 = 0xff;

impl Arguments {
    /// Creates an empty list in which every argument will be encoded in full, for calls that leave this thread.
    pub(crate) fn in_full() -> Self {
        let mut arguments = Self::new();
        arguments.in_full = true;
        arguments
    }

    /// Adds the digest of the next argument, or its encoding if it has no digest or is needed in full.
    #[cold]
    pub(super) fn keep(&mut self, kept: Arc<dyn CachedDigest>) -> Result<(), EncodeError> {
        let hash = if self.in_full { None } else { kept.hash()? };
        let Some(hash) = hash else { return kept.encode(&mut self.bytes) };
        self.bytes.push(DIGEST);
        self.bytes.extend_from_slice(&hash);
        self.kept.push((self.ends.len(), Contained::new(kept)));
        Ok(())
    }

    /// Returns the same arguments in full, or `None` if these already are.
    ///
    /// # Errors
    /// Fails with the position of an argument that cannot be encoded, and the reason.
    pub(in crate::engine) fn filled(&self) -> Result<Option<Self>, (usize, EncodeError)> {
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

    /// Returns the encoding of the argument at this position, given its encoding or the digest that replaces it.
    ///
    /// # Errors
    /// Fails if the argument can no longer be encoded.
    pub(in crate::engine) fn encoding<'a>(&self, at: usize, standing: &'a [u8]) -> Result<Cow<'a, [u8]>, EncodeError> {
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

/// Returns the reference to a value, given its encoding or the digest that replaces it.
pub(super) fn reference(standing: &[u8]) -> ValueRef {
    digest(standing).map_or_else(|| ValueRef::of(standing), ValueRef::Stored)
}

/// Like [`reference()`], without copying an inline value.
pub(super) fn borrowed_reference(standing: &[u8]) -> Reference<'_> {
    match digest(standing) {
        Some(digest) => Reference::Stored(digest),
        None if standing.len() <= INLINE_LIMIT => Reference::Inline(standing),
        None => Reference::Stored(Digest::of(standing)),
    }
}

/// Returns the digest, if one replaces the encoding.
#[inline]
fn digest(standing: &[u8]) -> Option<Digest> {
    let digest = standing.strip_prefix(&[DIGEST])?;
    digest.try_into().ok().map(Digest::from_bytes)
}
