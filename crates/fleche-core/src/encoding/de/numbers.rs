//! Serde's access types for typed arrays.

use serde::de::{self, DeserializeSeed, SeqAccess, Visitor};

use super::access::all_taken;
use crate::encoding::{
    DecodeError, DecodeErrorKind, MAX_DEPTH, encoded,
    number::{Kind, Number},
};

/// Passes a typed array to `visitor`. The length of `bytes` is a multiple of the number's size.
pub(super) fn visit<'de, V: Visitor<'de>>(kind: Kind, bytes: &'de [u8], visitor: V) -> Result<V::Value, DecodeError> {
    // The two kinds that are most often long get specialized code; specializing all ten would produce too much code.
    match kind {
        Kind::U8 => visit_as(U8, bytes, visitor),
        Kind::F64 => visit_as(F64, bytes, visitor),
        other => visit_as(other, bytes, visitor),
    }
}

fn visit_as<'de, K: KnownKind, V: Visitor<'de>>(
    kind: K,
    bytes: &'de [u8],
    visitor: V,
) -> Result<V::Value, DecodeError> {
    let size = kind.kind().size();
    let mut numbers = Numbers { kind, rest: bytes };
    let value = visitor.visit_seq(&mut numbers)?;
    all_taken(bytes.len() / size, numbers.rest.len() / size)?;
    Ok(value)
}

/// A kind of number, which may be known at compile time.
trait KnownKind {
    fn kind(&self) -> Kind;
}

struct U8;
struct F64;

impl KnownKind for U8 {
    #[inline]
    fn kind(&self) -> Kind {
        Kind::U8
    }
}

impl KnownKind for F64 {
    #[inline]
    fn kind(&self) -> Kind {
        Kind::F64
    }
}

impl KnownKind for Kind {
    #[inline]
    fn kind(&self) -> Kind {
        *self
    }
}

/// The numbers of a typed array.
struct Numbers<'de, K> {
    kind: K,
    rest: &'de [u8],
}

impl<'de, K: KnownKind> SeqAccess<'de> for Numbers<'de, K> {
    type Error = DecodeError;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        let Some((number, rest)) = self.rest.split_at_checked(self.kind.kind().size()) else {
            return Ok(None);
        };
        self.rest = rest;
        seed.deserialize(Element { number: self.kind.kind().read(number), somes: 0 }).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len() / self.kind.kind().size())
    }
}

/// One number of a typed array.
struct Element {
    number: Number,
    /// How many `Some`s are around the number.
    somes: usize,
}

impl<'de> de::Deserializer<'de> for Element {
    type Error = DecodeError;

    #[inline]
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.number {
            Number::Unsigned(value) => visitor.visit_u64(value),
            Number::Signed(value) => visitor.visit_i64(value),
            Number::F32(value) => visitor.visit_f32(value),
            Number::F64(value) => visitor.visit_f64(value),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, DecodeError> {
        self.somes += 1;
        if self.somes > MAX_DEPTH {
            return Err(DecodeError::somewhere(DecodeErrorKind::TooDeep));
        }
        visitor.visit_some(self)
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        if name != encoded::MARKER {
            return visitor.visit_newtype_struct(self);
        }
        let mut item = Vec::with_capacity(9);
        self.number.write(&mut item);
        visitor.visit_byte_buf(item)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct enum identifier ignored_any
    }

    fn is_human_readable(&self) -> bool {
        true
    }
}
