//! The one canonical encoding: deterministic CBOR, the bytes that are hashed and the bytes that are stored.
//!
//! | to | use |
//! |---|---|
//! | encode a value | [`to_vec`], [`append`], [`to_writer`] |
//! | decode it | [`from_slice`] |
//! | show encoded bytes to a person | [`diagnostic`] |
//! | carry a value that is already encoded | [`Encoded`] |
//! | give a `HashSet` one encoding | [`unordered`] |
//! | keep the order of an `IndexMap` | [`ordered`] |
//! | find out whether a value has a stable encoding | [`stability::check`] |
//!
//! The format is CBOR (RFC 8949) in its core deterministic form (§4.2.1) with typed arrays (RFC 8746) for sequences of
//! numbers. `docs/format.md` has the rules and worked examples; the bytes are a public promise, the same on every
//! platform and in every release. Serializer and deserializer both report themselves as human readable, because the
//! buffers that serde itself uses (for untagged enums, flattened structs and similar types) do, and all must agree.
//!
//! # Limits
//!
//! - Values nested more than [`MAX_DEPTH`] levels deep cannot be encoded.
//! - `i128` and `u128` inside values that serde buffers (untagged and internally tagged enums, flattened structs) encode,
//!   but decoding refuses them, because the buffer cannot hold them.
//! - Two values that their `Serialize` writes alike have the same encoding: skipped fields, overlapping untagged variants,
//!   a `u8` and a `u64` of the same value, a unit variant and a string.

use std::{io, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

mod de;
mod diagnostic;
mod encoded;
mod error;
mod filled;
mod head;
pub(crate) mod item;
pub(crate) mod kept;
mod number;
pub mod ordered;
mod reader;
mod ser;
pub mod stability;
pub mod unordered;

pub use de::Deserializer;
pub use diagnostic::diagnostic;
pub use encoded::Encoded;
pub(crate) use encoded::ReadByUs;
pub use error::{DecodeError, DecodeErrorKind, EncodeError};
pub(crate) use filled::is_filled;
use kept::Kept;

/// The limit of nesting for arrays, maps and wrap tags, both in encoding and in decoding.
///
/// An enum variant with content is a map of its own. A `Some` counts until an array or a map begins inside it.
pub const MAX_DEPTH: usize = 128;

/// The CBOR tag around the content of a `Some` that could be mistaken for `None` without it. It has no other use.
pub const WRAP_TAG: u64 = 0x666c_6368;

/// Encodes `value`.
///
/// Fails if the value's `Serialize` does, if a map has a key twice, and beyond [`MAX_DEPTH`].
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, EncodeError> {
    // Most arguments are small; this saves them the first few reallocations.
    let mut buffer = Vec::with_capacity(64);
    ser::encode(&mut buffer, None, value)?;
    Ok(buffer)
}

/// Encodes `value` and writes it to `writer` in one piece, so that nothing is written if encoding fails.
///
/// Fails as [`to_vec`] does, and with [`EncodeError::Write`] if `writer` does.
pub fn to_writer<W: io::Write, T: Serialize + ?Sized>(mut writer: W, value: &T) -> Result<(), EncodeError> {
    writer.write_all(&to_vec(value)?).map_err(EncodeError::Write)
}

/// Encodes `value` at the end of `buffer`. If encoding fails (as in [`to_vec`]), the buffer is unchanged.
#[inline]
pub fn append<T: Serialize + ?Sized>(buffer: &mut Vec<u8>, value: &T) -> Result<(), EncodeError> {
    or_as_it_was(buffer, |buffer| ser::encode(buffer, None, value))
}

/// Like [`append`], but a value that caches its digest is not encoded and goes to `kept`.
pub(crate) fn append_or_keep<T: Serialize + ?Sized>(
    buffer: &mut Vec<u8>,
    kept: &mut Option<Arc<dyn Kept>>,
    value: &T,
) -> Result<(), EncodeError> {
    or_as_it_was(buffer, |buffer| ser::encode_or_keep(buffer, kept, value))
}

#[inline]
fn or_as_it_was(
    buffer: &mut Vec<u8>,
    encode: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let start = buffer.len();
    let encoded = encode(buffer);
    if encoded.is_err() {
        buffer.truncate(start);
    }
    encoded
}

/// Decodes the one value in `bytes`.
///
/// Fails if the bytes are not an item of this format, if more bytes follow it, or if it does not fit `T`. Malicious bytes
/// also give an error: nesting is limited to [`MAX_DEPTH`], and no length is trusted beyond the bytes that are present.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let mut deserializer = Deserializer::new(bytes);
    let value = T::deserialize(&mut deserializer).map_err(|error| error.or_at(deserializer.position()))?;
    deserializer.finish()?;
    Ok(value)
}

/// Like [`from_slice`], and faster for lists of numbers. Also returns whether fields of the type may have been absent,
/// and have their defaults.
pub(crate) fn from_slice_by_block<T: DeserializeOwned + 'static>(bytes: &[u8]) -> Result<(T, bool), DecodeError> {
    if let Some(list) = de::list(bytes) {
        return Ok((list, false));
    }
    let mut deserializer = Deserializer::new(bytes);
    let value = T::deserialize(&mut deserializer).map_err(|error| error.or_at(deserializer.position()))?;
    deserializer.finish()?;
    Ok((value, deserializer.may_lack_fields()))
}
