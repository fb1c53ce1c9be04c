//! `ValueRef`: the reference to a value in a key or a record.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{digest::Digest, encoding};

/// The largest encoding, in bytes, that is inline in keys and records; longer ones go to the value store.
pub const INLINE_LIMIT: usize = 64;

/// A reference to a value in a key or a record: the encoding itself if it is short, else the encoding's digest.
///
/// The value alone determines which of the two it is, so equal values have equal references everywhere. A reference is
/// encoded as a byte string (the value's encoding) or as text (the digest's 64 digits).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueRef {
    /// The encoding, of at most [`INLINE_LIMIT`] bytes.
    Inline(InlineBytes),
    /// The digest of an encoding that is in the value store.
    Stored(Digest),
}

impl ValueRef {
    /// Creates the reference to a value with this encoding.
    pub fn new(encoded: &[u8]) -> Self {
        InlineBytes::new(encoded).map_or_else(|| Self::Stored(Digest::hash(encoded)), Self::Inline)
    }

    /// Returns the digest if the value is in the value store, else `None`.
    pub fn stored(&self) -> Option<&Digest> {
        match self {
            Self::Inline(_) => None,
            Self::Stored(digest) => Some(digest),
        }
    }
}

/// Writes the value in diagnostic notation, or the digest if the value is in the value store.
impl fmt::Display for ValueRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(bytes) => f.write_str(&encoding::diagnostic(bytes.as_slice())),
            Self::Stored(digest) => digest.fmt(f),
        }
    }
}

impl fmt::Debug for ValueRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(bytes) => write!(f, "Inline({})", encoding::diagnostic(bytes.as_slice())),
            Self::Stored(digest) => write!(f, "Stored({digest})"),
        }
    }
}

/// At most [`INLINE_LIMIT`] bytes, stored inline.
#[derive(Clone, Copy)]
pub struct InlineBytes {
    len: u8,
    bytes: [u8; INLINE_LIMIT],
}

impl InlineBytes {
    /// Copies the bytes. Returns `None` if there are more than [`INLINE_LIMIT`].
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut copy = [0; INLINE_LIMIT];
        copy.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Self { len: u8::try_from(bytes.len()).ok()?, bytes: copy })
    }

    /// Returns the bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl PartialEq for InlineBytes {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for InlineBytes {}

impl std::hash::Hash for InlineBytes {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}

impl fmt::Debug for InlineBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().fmt(f)
    }
}

impl Serialize for ValueRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Inline(bytes) => serializer.serialize_bytes(bytes.as_slice()),
            Self::Stored(digest) => digest.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ValueRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reference;
        impl<'de> de::Visitor<'de> for Reference {
            type Value = ValueRef;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a value reference: at most {INLINE_LIMIT} bytes, or a digest as text")
            }
            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<ValueRef, E> {
                InlineBytes::new(bytes).map(ValueRef::Inline).ok_or_else(|| E::invalid_length(bytes.len(), &self))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<ValueRef, E> {
                text.parse().map(ValueRef::Stored).map_err(E::custom)
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut bytes: A) -> Result<ValueRef, A::Error> {
                let mut copy = Vec::with_capacity(INLINE_LIMIT);
                while let Some(byte) = bytes.next_element()? {
                    if copy.len() == INLINE_LIMIT {
                        return Err(de::Error::invalid_length(INLINE_LIMIT + 1, &self));
                    }
                    copy.push(byte);
                }
                self.visit_bytes(&copy)
            }
        }
        deserializer.deserialize_any(Reference)
    }
}
