//! What can go wrong when a value is encoded or decoded.

use std::{fmt, io};

use super::MAX_DEPTH;

/// Why a value could not be encoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A map has two entries with one key, or with keys that encode alike.
    #[error("a map has the key {key} twice; keys must stay distinct when they are encoded")]
    DuplicateKey {
        /// The key in diagnostic notation.
        key: Box<str>,
    },
    /// The value is nested more deeply than [`MAX_DEPTH`].
    #[error("the value is nested more than {MAX_DEPTH} levels deep; flatten it, or keep its parts in a list")]
    TooDeep,
    /// A `Serialize` wrote a map's key without a value or a value without a key, or went on after an error.
    #[error("the Serialize of this value is at fault: {0}")]
    Misuse(&'static str),
    /// The value's `Serialize` refused.
    #[error("{0}")]
    Custom(Box<str>),
    /// The writer failed.
    #[error("the encoded value could not be written: {0}")]
    Write(#[source] io::Error),
}

impl serde::ser::Error for EncodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Custom(message.to_string().into())
    }
}

/// Why bytes could not be decoded, and where.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{}", .0.kind, At(.0.offset))]
pub struct DecodeError(Box<Located>);

#[derive(Clone, PartialEq, Eq)]
struct Located {
    kind: DecodeErrorKind,
    offset: Option<usize>,
}

/// What is wrong with bytes that could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The input ends inside of an item, or an item claims more content than there are bytes.
    #[error("the input ends before the item does")]
    EndOfInput,
    /// There are bytes after the item.
    #[error("bytes follow after the end of the value")]
    TrailingBytes,
    /// An item of indefinite length, or the break that ends one.
    #[error("an item of indefinite length, where this format has definite lengths only")]
    IndefiniteLength,
    /// A number, length or tag that has a shorter form.
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
    /// The keys of a map do not ascend.
    #[error("map keys that are not in ascending order of their encoding")]
    UnsortedKeys,
    /// A map has a key twice.
    #[error("a map key that occurs twice")]
    DuplicateKey,
    /// A typed array that holds no byte string, or one whose length is no multiple of the element's.
    #[error("a typed array (tag {0}) whose content is not a byte string of whole elements")]
    TypedArray(u64),
    /// A wrap tag around something that needs none.
    #[error("a wrap tag around something other than null or another wrap tag")]
    NeedlessWrap,
    /// A big integer that fits 64 bits, has leading zeros, is no byte string, or needs more than 128 bits.
    #[error("a big integer that is not in its shortest form or needs more than 128 bits")]
    BigInteger,
    /// Nested more deeply than [`MAX_DEPTH`].
    #[error("nested more than {MAX_DEPTH} levels deep")]
    TooDeep,
    /// The bytes are an item of this format but do not fit the type.
    #[error("{0}")]
    Mismatch(Box<str>),
}

impl DecodeError {
    pub(super) fn new(kind: DecodeErrorKind, offset: usize) -> Self {
        Self(Box::new(Located { kind, offset: Some(offset) }))
    }

    /// An error whose place the caller adds.
    pub(super) fn somewhere(kind: DecodeErrorKind) -> Self {
        Self(Box::new(Located { kind, offset: None }))
    }

    /// The same error with this offset, unless it has one.
    pub(super) fn or_at(mut self, offset: usize) -> Self {
        self.0.offset.get_or_insert(offset);
        self
    }

    /// What is wrong.
    pub fn kind(&self) -> &DecodeErrorKind {
        &self.0.kind
    }

    /// How many bytes into the input the offending item begins; `None` where the error has no place.
    pub fn offset(&self) -> Option<usize> {
        self.0.offset
    }
}

impl serde::de::Error for DecodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::somewhere(DecodeErrorKind::Mismatch(message.to_string().into()))
    }
}

impl fmt::Debug for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecodeError").field("kind", &self.0.kind).field("offset", &self.0.offset).finish()
    }
}

/// Shows an offset where there is one.
struct At(Option<usize>);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |offset| write!(f, " (at byte {offset})"))
    }
}
