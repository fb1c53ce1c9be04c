//! Serde's access types for arrays, maps and enum variants.

use serde::de::{self, DeserializeSeed, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};

use super::Deserializer;
use crate::encoding::{
    DecodeError,
    reader::{Item, Keys},
};

/// The elements of an ordinary array.
pub(super) struct Elements<'a, 'de> {
    de: &'a mut Deserializer<'de>,
    left: usize,
}

impl<'a, 'de> Elements<'a, 'de> {
    pub(super) fn visit<V: Visitor<'de>>(
        de: &'a mut Deserializer<'de>,
        count: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let mut elements = Self { de, left: count };
        let value = visitor.visit_seq(&mut elements)?;
        all_taken(count, elements.left)?;
        Ok(value)
    }
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = DecodeError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(&mut *self.de).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// Fails if a visitor left elements of a sequence or entries of a map, as the visitor of a tuple that is too short does.
pub(super) fn all_taken(count: usize, left: usize) -> Result<(), DecodeError> {
    if left == 0 {
        return Ok(());
    }
    let expected = format!("no more than {} elements", count - left);
    Err(de::Error::invalid_length(count, &expected.as_str()))
}

/// The entries of a map.
pub(super) struct Entries<'a, 'de> {
    de: &'a mut Deserializer<'de>,
    left: usize,
    keys: Keys<'de>,
    /// The offsets of the entries that are still to be fed, the next one last. Empty if they are fed in the order of the
    /// encoding.
    reversed: Vec<usize>,
    /// By how much the size hint is too large.
    inflation: usize,
}

impl<'a, 'de> Entries<'a, 'de> {
    pub(super) fn visit<V: Visitor<'de>>(
        de: &'a mut Deserializer<'de>,
        count: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let (reversed, inflation, end) = match de.rehearsal {
            Some(rehearsal) => rehearsal.prepare(&de.reader, count, de.depth)?,
            None => (Vec::new(), 0, None),
        };
        let mut entries = Entries { de: &mut *de, left: count, keys: Keys::default(), reversed, inflation };
        let value = visitor.visit_map(&mut entries)?;
        all_taken(count, entries.left)?;
        if let Some(end) = end {
            de.reader.position = end;
        }
        Ok(value)
    }
}

impl<'de> MapAccess<'de> for Entries<'_, 'de> {
    type Error = DecodeError;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        if let Some(start) = self.reversed.pop() {
            // The order of the keys was checked when the entries were located.
            self.de.reader.position = start;
            return self.de.next(seed).map(Some);
        }
        let start = self.de.position();
        let key = self.de.next(seed)?;
        self.keys.next(&self.de.reader, start)?;
        Ok(Some(key))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, DecodeError> {
        self.de.next(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left + self.inflation)
    }
}

/// An enum variant with content: a map of one entry.
pub(super) struct Content<'a, 'de> {
    pub(super) de: &'a mut Deserializer<'de>,
}

impl<'de> EnumAccess<'de> for Content<'_, 'de> {
    type Error = DecodeError;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), DecodeError> {
        let name = self.de.with_item(|_, item| match item {
            Item::Text(name) => seed.deserialize(de::value::BorrowedStrDeserializer::new(name)),
            other => Err(de::Error::invalid_type(other.unexpected(), &"a variant's name")),
        })?;
        Ok((name, self))
    }
}

impl<'de> VariantAccess<'de> for Content<'_, 'de> {
    type Error = DecodeError;

    fn unit_variant(self) -> Result<(), DecodeError> {
        de::Deserialize::deserialize(self.de)
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, DecodeError> {
        self.de.next(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, fields: usize, visitor: V) -> Result<V::Value, DecodeError> {
        de::Deserializer::deserialize_tuple_struct(self.de, "", fields, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        de::Deserializer::deserialize_struct(self.de, "", fields, visitor)
    }
}
