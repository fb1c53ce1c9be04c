//! What visitors read typed arrays through.

use serde::de::{self, DeserializeSeed, SeqAccess, Visitor};

use super::access::all_taken;
use crate::encoding::{
    DecodeError, DecodeErrorKind, MAX_DEPTH, encoded,
    number::{Kind, Number},
};

/// The numbers of a typed array.
pub(super) struct Numbers<'de> {
    kind: Kind,
    rest: &'de [u8],
}

impl<'de> Numbers<'de> {
    /// Has `visitor` read a whole typed array, of which `bytes` are whole numbers.
    pub(super) fn visit<V: Visitor<'de>>(kind: Kind, bytes: &'de [u8], visitor: V) -> Result<V::Value, DecodeError> {
        let mut numbers = Self { kind, rest: bytes };
        let value = visitor.visit_seq(&mut numbers)?;
        all_taken(bytes.len() / kind.size(), numbers.rest.len() / kind.size())?;
        Ok(value)
    }
}

impl<'de> SeqAccess<'de> for Numbers<'de> {
    type Error = DecodeError;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        let Some((number, rest)) = self.rest.split_at_checked(self.kind.size()) else {
            return Ok(None);
        };
        self.rest = rest;
        seed.deserialize(Element { number: self.kind.read(number), somes: 0 }).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len() / self.kind.size())
    }
}

/// One number of a typed array.
struct Element {
    number: Number,
    /// How many `Some`s there are around it.
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
