//! Values that are encoded already.

use std::fmt;

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, DeserializeOwned, SeqAccess, Visitor},
};

use super::{DecodeError, EncodeError, append, diagnostic, from_slice, reader};

/// The name of the newtype struct by which our own serializer and deserializer know an [`Encoded`].
pub(super) const MARKER: &str = "$fleche_core::encoding::Encoded";

/// Most are shorter than this.
const USUAL: usize = 256;

/// Up to this many bytes a copy costs less than what is left over of a buffer.
const SMALL: usize = 4096;

/// The bytes of one encoded value.
///
/// Within this format it stands for the value itself: it is written by copying the bytes, and reading one takes the bytes
/// of whatever value is there. Other formats see a byte string. Either way bytes that come from outside are checked.
///
/// Where serde buffers what it reads (in untagged and internally tagged enums, in flattened structs) the bytes of the
/// value are gone by the time they are asked for, and reading one is an error, as it is for `serde_json::value::RawValue`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Encoded(Bytes);

impl Encoded {
    /// Encodes `value`; fails as [`to_vec`](super::to_vec) does.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, EncodeError> {
        let mut encoded = Vec::with_capacity(USUAL);
        append(&mut encoded, value)?;
        // Small ones are kept in as much memory as they need.
        Ok(Self(if encoded.len() <= SMALL { Bytes::copy_from_slice(&encoded) } else { encoded.into() }))
    }

    /// Takes bytes that hold one encoded value; fails where they are anything else.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Result<Self, DecodeError> {
        let bytes = bytes.into();
        reader::check(&bytes, 0)?;
        Ok(Self(bytes))
    }

    /// The encoded value.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The encoded value, without a copy.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// Decodes the value; fails where it is no `T`.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        from_slice(&self.0)
    }
}

/// The value in diagnostic notation.
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
        serializer.serialize_newtype_struct(MARKER, &Raw(&self.0))
    }
}

/// Bytes as a byte string.
struct Raw<'a>(&'a [u8]);

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de> Deserialize<'de> for Encoded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(MARKER, RawVisitor)
    }
}

/// An [`Encoded`] that is only ever read by our own deserializer, which has checked it by then.
pub(crate) struct ReadByUs(pub(crate) Encoded);

impl<'de> Deserialize<'de> for ReadByUs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Checked;
        impl<'de> Visitor<'de> for Checked {
            type Value = ReadByUs;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                RawVisitor.expecting(f)
            }
            fn visit_borrowed_bytes<E: de::Error>(self, bytes: &'de [u8]) -> Result<ReadByUs, E> {
                Ok(ReadByUs(Encoded(Bytes::copy_from_slice(bytes))))
            }
        }
        deserializer.deserialize_newtype_struct(MARKER, Checked)
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
