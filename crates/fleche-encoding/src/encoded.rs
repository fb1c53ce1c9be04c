//! `Encoded`: a value in encoded form.

use std::fmt;

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, DeserializeOwned, SeqAccess, Visitor},
};

use crate::{
    deserializer::from_slice,
    diagnostic::diagnostic,
    error::{DecodeError, EncodeError},
    header::ENCODED_MARKER,
    reader,
    serializer::append,
};

/// The initial capacity, in bytes, of the buffer for an encoding. Most encodings are shorter.
const USUAL: usize = 256;

/// The size in bytes up to which a copy costs less than the unused rest of a buffer.
const SMALL: usize = 4096;

/// The bytes of one encoded value.
///
/// In this format it stands for the value itself: writing it copies the bytes, and reading one takes the bytes of any
/// value. Other formats see a byte string. Bytes from outside are checked in either case.
///
/// Values that serde buffers (in untagged and internally tagged enums, in flattened structs) no longer have their bytes
/// when they are read. Reading an `Encoded` there is an error, as it is for `serde_json::value::RawValue`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Encoded(Bytes);

impl Encoded {
    /// Encodes `value`. Fails as [`to_vec`](crate::to_vec) does.
    pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Self, EncodeError> {
        let mut encoded = Vec::with_capacity(USUAL);
        append(&mut encoded, value)?;
        // Small encodings are copied to an allocation of their exact size.
        Ok(Self(if encoded.len() <= SMALL { Bytes::copy_from_slice(&encoded) } else { encoded.into() }))
    }

    /// Takes the bytes of one encoded value. Fails if they are anything else.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Result<Self, DecodeError> {
        let bytes = bytes.into();
        reader::check(&bytes, 0)?;
        Ok(Self(bytes))
    }

    /// Returns the encoded value.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the encoded value, without a copy.
    #[inline]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// Decodes the value. Fails if it is not a `T`.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        from_slice(&self.0)
    }
}

/// Writes the value in diagnostic notation.
impl fmt::Display for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&diagnostic(&self.0))
    }
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Encoded({self})")
    }
}

impl Serialize for Encoded {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(ENCODED_MARKER, &Raw(&self.0))
    }
}

/// Serializes bytes as a byte string.
struct Raw<'a>(&'a [u8]);

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de> Deserialize<'de> for Encoded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(ENCODED_MARKER, RawVisitor)
    }
}

/// An [`Encoded`] that only this crate's deserializer reads. The deserializer has already checked the bytes.
pub struct CheckedEncoded(pub Encoded);

impl<'de> Deserialize<'de> for CheckedEncoded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Checked;
        impl<'de> Visitor<'de> for Checked {
            type Value = CheckedEncoded;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                RawVisitor.expecting(f)
            }
            fn visit_borrowed_bytes<E: de::Error>(self, bytes: &'de [u8]) -> Result<CheckedEncoded, E> {
                Ok(CheckedEncoded(Encoded(Bytes::copy_from_slice(bytes))))
            }
        }
        deserializer.deserialize_newtype_struct(ENCODED_MARKER, Checked)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Encoded;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes of an encoded value")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Encoded, D::Error> {
        deserializer.deserialize_byte_buf(self)
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Encoded, E> {
        self.visit_byte_buf(bytes.to_vec())
    }

    fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Encoded, E> {
        Encoded::from_bytes(bytes).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Encoded, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = elements.next_element()? {
            bytes.push(byte);
        }
        self.visit_byte_buf(bytes)
    }
}
