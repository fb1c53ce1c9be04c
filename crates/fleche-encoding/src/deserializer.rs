//! The deserializer: reads the output of the serializer, and accepts every form that a value may have.

mod typed_array;

use std::mem;

use serde::de::{
    self, DeserializeOwned, DeserializeSeed, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor,
    value::BorrowedStrDeserializer,
};

use crate::{
    error::{DecodeError, DecodeErrorKind, ensure_all_read},
    header::{self, ENCODED_MARKER, MAX_DEPTH},
    number::Kind,
    permuted_maps::FeedingPlan,
    reader::{Item, Keys, Reader},
};

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

/// Like [`from_slice`], and faster for lists of numbers. Also returns whether fields of the type may have been absent
/// from the bytes, and have their defaults.
pub fn from_slice_tracked<T: DeserializeOwned + 'static>(bytes: &[u8]) -> Result<(T, bool), DecodeError> {
    if let Some(list) = typed_array::decode_list(bytes) {
        return Ok((list, false));
    }
    let mut deserializer = Deserializer::new(bytes);
    let value = T::deserialize(&mut deserializer).map_err(|error| error.or_at(deserializer.position()))?;
    deserializer.finish()?;
    Ok((value, deserializer.may_lack_fields()))
}

/// Decodes a slice of encoded values, one after the other.
///
/// Sequences may be arrays, typed arrays or byte strings; structs may be maps or arrays. Integers are not converted
/// silently: one that does not fit the type is an error.
#[derive(Debug)]
pub struct Deserializer<'de> {
    reader: Reader<'de>,
    /// The number of containers and wraps around the current item.
    depth: usize,
    /// The number of `Some`s around the current item, within the innermost container, that have no trace in the bytes.
    somes: usize,
    /// The order in which maps are fed to visitors, if that is not the order of the encoding.
    plan: Option<&'de FeedingPlan>,
    seen: Seen,
    /// Whether a struct was read that has more fields than the encoding, or that does not report its fields.
    may_lack: bool,
}

/// The observations about the struct that is being read.
#[derive(Debug, Default)]
struct Seen {
    /// The number of values that were skipped because the type has no field for them.
    unwanted: usize,
    /// Whether keys were read as field names.
    has_names: bool,
}

impl<'de> Deserializer<'de> {
    /// Creates a deserializer at the start of `input`.
    #[inline]
    pub fn new(input: &'de [u8]) -> Self {
        Self {
            reader: Reader { input, position: 0 },
            depth: 0,
            somes: 0,
            plan: None,
            seen: Seen::default(),
            may_lack: false,
        }
    }

    /// Creates a deserializer that feeds maps to visitors as `plan` says.
    pub(crate) fn with_plan(input: &'de [u8], plan: &'de FeedingPlan) -> Self {
        Self { plan: Some(plan), ..Self::new(input) }
    }

    /// Returns the number of bytes that have been read.
    #[inline]
    pub fn position(&self) -> usize {
        self.reader.position
    }

    /// Fails if bytes are left.
    #[inline]
    pub fn finish(&self) -> Result<(), DecodeError> {
        self.reader.finish()
    }

    /// Returns whether the encoding may lack a field of the type. Only encoding the value again shows whether a field is
    /// missing.
    pub(crate) fn may_lack_fields(&self) -> bool {
        self.may_lack
    }

    /// Reads a struct with this many fields, which is encoded as a map or an array.
    fn visit_struct<V: Visitor<'de>>(
        &mut self,
        item: Item<'de>,
        fields: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let Item::Map(count) = item else { return self.visit_tuple(item, fields, visitor) };
        let outside = mem::take(&mut self.seen);
        let value = self.nested(|de| Entries::visit(de, count, visitor))?;
        self.may_lack |= count.saturating_sub(self.seen.unwanted) < fields;
        self.seen = outside;
        Ok(value)
    }

    /// Reads this many elements, or fewer if the rest have defaults.
    fn visit_tuple<V: Visitor<'de>>(
        &mut self,
        item: Item<'de>,
        elements: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.may_lack |= match item {
            Item::Array(count) => count < elements,
            Item::Typed(kind, numbers) => numbers.len() / kind.size() < elements,
            _ => false,
        };
        self.visit(item, visitor)
    }

    /// Runs `read` one container deeper.
    fn nested<R>(&mut self, read: impl FnOnce(&mut Self) -> Result<R, DecodeError>) -> Result<R, DecodeError> {
        let outside = (self.depth, self.somes);
        if self.depth >= MAX_DEPTH {
            return Err(DecodeError::new(DecodeErrorKind::TooDeep, self.position()));
        }
        (self.depth, self.somes) = (self.depth + 1, 0);
        let result = read(self);
        (self.depth, self.somes) = outside;
        result
    }

    fn skip(&mut self) -> Result<(), DecodeError> {
        self.reader.skip_next(self.depth)
    }

    /// Passes the next item to a seed.
    fn next<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, DecodeError> {
        seed.deserialize(self)
    }

    fn visit<V: Visitor<'de>>(&mut self, item: Item<'de>, visitor: V) -> Result<V::Value, DecodeError> {
        match item {
            Item::Unsigned(value) => visitor.visit_u64(value),
            Item::Negative(value) => match i64::try_from(value) {
                Ok(value) => visitor.visit_i64(!value),
                Err(_) => visitor.visit_i128(!i128::from(value)),
            },
            Item::Positive(value) => visitor.visit_u128(value),
            Item::WideNegative(value) => visitor.visit_i128(value),
            Item::F32(value) => visitor.visit_f32(value),
            Item::F64(value) => visitor.visit_f64(value),
            Item::Bool(value) => visitor.visit_bool(value),
            Item::Null => visitor.visit_unit(),
            Item::Text(value) => visitor.visit_borrowed_str(value),
            Item::Bytes(value) => visitor.visit_borrowed_bytes(value),
            Item::Typed(kind, bytes) => typed_array::visit(kind, bytes, visitor),
            Item::Array(count) => self.nested(|de| Elements::visit(de, count, visitor)),
            Item::Map(count) => {
                // The caller asked for neither a struct nor a map. Serde reads structs that it buffers this way, for
                // example in an untagged enum.
                self.may_lack = true;
                self.nested(|de| Entries::visit(de, count, visitor))
            }
            Item::Wrap => self.nested(|de| visitor.visit_some(de)),
        }
    }

    /// Reads an item and passes it to `visit`. Errors without an offset get that of the item.
    fn with_item<R>(
        &mut self,
        visit: impl FnOnce(&mut Self, Item<'de>) -> Result<R, DecodeError>,
    ) -> Result<R, DecodeError> {
        let start = self.position();
        let item = self.reader.item()?;
        visit(self, item).map_err(|error| error.or_at(start))
    }

    /// Reads the header of a map. Returns the number of entries.
    #[doc(hidden)]
    #[inline]
    pub fn map_header(&mut self) -> Result<usize, DecodeError> {
        self.with_item(|_, item| match item {
            Item::Map(count) => Ok(count),
            other => Err(de::Error::invalid_type(other.unexpected(), &"a map")),
        })
    }

    /// Reads a text and returns its bytes, which are not checked to be UTF-8.
    #[doc(hidden)]
    #[inline]
    pub fn text_bytes(&mut self) -> Result<&'de [u8], DecodeError> {
        self.reader.text_bytes()
    }

    /// Skips the next item of any type. Checks only that the item ends within the input.
    #[doc(hidden)]
    #[inline]
    pub fn skip_unchecked(&mut self) -> Result<(), DecodeError> {
        self.reader.skip_unchecked()
    }

    fn byte_list(&mut self, count: usize) -> Result<Vec<u8>, DecodeError> {
        let mut bytes = Vec::with_capacity(count);
        for _ in 0..count {
            let start = self.position();
            match self.reader.item()? {
                Item::Unsigned(byte @ 0..=0xff) => bytes.extend(u8::try_from(byte)),
                other => return Err(de::Error::invalid_type(other.unexpected(), &"a byte")).map_err(at(start)),
            }
        }
        Ok(bytes)
    }
}

fn at(offset: usize) -> impl Fn(DecodeError) -> DecodeError {
    move |error| error.or_at(offset)
}

impl<'de> de::Deserializer<'de> for &mut Deserializer<'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.with_item(|de, item| de.visit(item, visitor))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.with_item(|de, item| {
            let Item::Map(count) = item else { return de.visit(item, visitor) };
            let outside = mem::take(&mut de.seen);
            let value = de.nested(|de| Entries::visit(de, count, visitor))?;
            // A struct with flattened fields reads a map and its field names.
            de.may_lack |= de.seen.has_names;
            de.seen = outside;
            Ok(value)
        })
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.seen.has_names = true;
        self.with_item(|de, item| de.visit(item, visitor))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let rest = self.reader.rest();
        if rest.first() == Some(&header::NULL) {
            self.reader.position += 1;
            visitor.visit_none()
        } else if rest.starts_with(&header::WRAP) {
            self.deserialize_any(visitor)
        } else {
            // A recursive newtype around an option reads no input before it recurses, so the depth is checked here.
            if self.depth + self.somes >= MAX_DEPTH {
                return Err(DecodeError::new(DecodeErrorKind::TooDeep, self.position()));
            }
            self.somes += 1;
            let value = visitor.visit_some(&mut *self);
            self.somes -= 1;
            value
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        if name != ENCODED_MARKER {
            return visitor.visit_newtype_struct(self);
        }
        let start = self.position();
        self.skip()?;
        visitor.visit_borrowed_bytes(self.reader.input.get(start..self.position()).unwrap_or_default())
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.with_item(|de, item| match item {
            Item::Typed(Kind::U8, bytes) => visitor.visit_borrowed_bytes(bytes),
            Item::Array(count) => {
                let bytes = de.byte_list(count)?;
                visitor.visit_byte_buf(bytes)
            }
            other => de.visit(other, visitor),
        })
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.with_item(|de, item| match item {
            Item::Bytes(bytes) => typed_array::visit(Kind::U8, bytes, visitor),
            other => de.visit(other, visitor),
        })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.with_item(|de, item| match item {
            Item::Bytes(bytes) => typed_array::visit(Kind::U8, bytes, visitor),
            other => de.visit_tuple(other, fields, visitor),
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.with_item(|de, item| match item {
            Item::Text(name) => visitor.visit_enum(BorrowedStrDeserializer::new(name)),
            Item::Map(1) => de.nested(|de| visitor.visit_enum(Content { de })),
            other => Err(de::Error::invalid_type(other.unexpected(), &"a variant's name or a map of one entry")),
        })
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.seen.unwanted += 1;
        self.skip()?;
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string unit unit_struct
    }

    // A struct that is encoded as an array is read as a sequence.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.with_item(|de, item| de.visit_struct(item, fields.len(), visitor))
    }

    fn is_human_readable(&self) -> bool {
        true
    }
}

/// The elements of an ordinary array.
struct Elements<'a, 'de> {
    de: &'a mut Deserializer<'de>,
    left: usize,
}

impl<'a, 'de> Elements<'a, 'de> {
    fn visit<V: Visitor<'de>>(
        de: &'a mut Deserializer<'de>,
        count: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let mut elements = Self { de, left: count };
        let value = visitor.visit_seq(&mut elements)?;
        ensure_all_read(count, elements.left)?;
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

/// The entries of a map.
struct Entries<'a, 'de> {
    de: &'a mut Deserializer<'de>,
    left: usize,
    keys: Keys<'de>,
    /// The offsets of the entries that are still to be fed, the next one last. Empty if they are fed in the order of the
    /// encoding.
    reversed: Vec<usize>,
    /// The number by which the size hint is too large.
    inflation: usize,
}

impl<'a, 'de> Entries<'a, 'de> {
    fn visit<V: Visitor<'de>>(
        de: &'a mut Deserializer<'de>,
        count: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let (reversed, inflation, end) = match de.plan {
            Some(plan) => plan.prepare(&de.reader, count, de.depth)?,
            None => (Vec::new(), 0, None),
        };
        let mut entries = Entries { de: &mut *de, left: count, keys: Keys::default(), reversed, inflation };
        let value = visitor.visit_map(&mut entries)?;
        ensure_all_read(count, entries.left)?;
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
struct Content<'a, 'de> {
    de: &'a mut Deserializer<'de>,
}

impl<'de> EnumAccess<'de> for Content<'_, 'de> {
    type Error = DecodeError;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), DecodeError> {
        let name = self.de.with_item(|_, item| match item {
            Item::Text(name) => seed.deserialize(BorrowedStrDeserializer::new(name)),
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
