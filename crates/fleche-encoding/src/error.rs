//! The errors of encoding, of decoding and of parsing digests.

use std::{fmt, io};

use serde::de::Error as _;

use crate::header::MAX_DEPTH;

/// An error in encoding a value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A map has two entries with the same key, or with keys whose encodings are equal.
    #[error("a map has the key {key} twice; distinct keys must have distinct encodings")]
    DuplicateKey {
        /// The key in diagnostic notation.
        key: Box<str>,
    },
    /// The value is nested more deeply than [`MAX_DEPTH`].
    #[error("the value is nested more than {MAX_DEPTH} levels deep; flatten it, or keep its parts in a list")]
    TooDeep,
    /// A `Serialize` wrote a map's key without a value or a value without a key, or continued after an error.
    #[error("the `Serialize` of this value has a bug: {0}")]
    Misuse(&'static str),
    /// The value's `Serialize` failed.
    #[error("{0}")]
    Custom(Box<str>),
    /// The writer failed.
    #[error("the encoded value could not be written")]
    Write(#[source] io::Error),
}

impl serde::ser::Error for EncodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Custom(message.to_string().into())
    }
}

/// An error in decoding bytes, with the offset of the fault.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{}", .0.kind, At(.0.offset))]
pub struct DecodeError(Box<Located>);

#[derive(Clone, PartialEq, Eq)]
struct Located {
    kind: DecodeErrorKind,
    offset: Option<usize>,
}

/// The kinds of faults in bytes that cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The input ends inside an item, or an item claims more content than there are bytes.
    #[error("the input ends before the item does")]
    EndOfInput,
    /// There are bytes after the item.
    #[error("there are bytes after the end of the value")]
    TrailingBytes,
    /// An item of indefinite length, or the break that ends one.
    #[error("an item of indefinite length; this format has only definite lengths")]
    IndefiniteLength,
    /// A number, length or tag is not in its shortest form.
    #[error("a number that is not in its shortest form")]
    NotShortest,
    /// An initial byte that RFC 8949 reserves.
    #[error("the reserved initial byte {0:#04x}")]
    Reserved(u8),
    /// A simple value other than `false`, `true` and `null`, or a half-precision float.
    #[error("the initial byte {0:#04x}, a kind of value that this format does not have")]
    Unsupported(u8),
    /// A tag that this format does not use.
    #[error("the tag {0}, which this format does not use")]
    UnknownTag(u64),
    /// A text string that is not UTF-8.
    #[error("text that is not UTF-8")]
    InvalidUtf8,
    /// The keys of a map are not in ascending order.
    #[error("map keys that are not in ascending order of their encoding")]
    UnsortedKeys,
    /// A map has a key twice.
    #[error("a map key that occurs twice")]
    DuplicateKey,
    /// The content of a typed array is not a byte string, or its length is not a multiple of the element's size.
    #[error("a typed array (tag {0}) whose content is not a byte string of whole elements")]
    TypedArray(u64),
    /// A wrap tag is around an item that needs none.
    #[error("a wrap tag around something other than null or another wrap tag")]
    NeedlessWrap,
    /// A big integer fits into 64 bits, has leading zeros, is not a byte string, or needs more than 128 bits.
    #[error("a big integer that is not in its shortest form or needs more than 128 bits")]
    BigInteger,
    /// The bytes are nested more deeply than [`MAX_DEPTH`].
    #[error("nested more than {MAX_DEPTH} levels deep")]
    TooDeep,
    /// The bytes are an item of this format but do not fit the type.
    #[error("{0}")]
    Mismatch(Box<str>),
}

impl DecodeError {
    pub(crate) fn new(kind: DecodeErrorKind, offset: usize) -> Self {
        Self(Box::new(Located { kind, offset: Some(offset) }))
    }

    /// Creates an error to which the caller adds the offset.
    pub(crate) fn without_offset(kind: DecodeErrorKind) -> Self {
        Self(Box::new(Located { kind, offset: None }))
    }

    /// Sets the offset, unless the error has one.
    pub(crate) fn or_at(mut self, offset: usize) -> Self {
        self.0.offset.get_or_insert(offset);
        self
    }

    /// Returns the fault.
    pub fn kind(&self) -> &DecodeErrorKind {
        &self.0.kind
    }

    /// Returns the offset in bytes of the faulty item in the input, or `None` if it is unknown.
    pub fn offset(&self) -> Option<usize> {
        self.0.offset
    }
}

impl serde::de::Error for DecodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::without_offset(DecodeErrorKind::Mismatch(message.to_string().into()))
    }
}

impl fmt::Debug for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecodeError").field("kind", &self.0.kind).field("offset", &self.0.offset).finish()
    }
}

/// Fails if a visitor left elements of a sequence or entries of a map, as the visitor of a tuple that is too short does.
#[inline]
pub(crate) fn ensure_all_read(count: usize, left: usize) -> Result<(), DecodeError> {
    if left == 0 { Ok(()) } else { Err(too_long(count, left)) }
}

#[cold]
fn too_long(count: usize, left: usize) -> DecodeError {
    let expected = format!("no more than {} elements", count - left);
    DecodeError::invalid_length(count, &expected.as_str())
}

/// Formats an offset, if there is one.
struct At(Option<usize>);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |offset| write!(f, " (at byte {offset})"))
    }
}

/// A text that is neither a digest nor the prefix of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct ParseDigestError {
    text: Box<str>,
    expected: &'static str,
}

impl ParseDigestError {
    pub(crate) fn new(text: &str, expected: &'static str) -> Self {
        Self { text: text.into(), expected }
    }

    /// Returns the text that was parsed.
    pub fn text(&self) -> &str {
        &self.text
    }
}
