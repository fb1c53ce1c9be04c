//! The deserializer: reads what the serializer writes, and accepts every form that a value may have.

use std::mem;

use serde::de::{self, DeserializeSeed, Visitor, value::BorrowedStrDeserializer};

use super::{
    DecodeError, DecodeErrorKind, MAX_DEPTH, encoded, head,
    number::Kind,
    reader::{Item, Reader},
};

mod access;
mod blocks;
mod numbers;
mod rehearsal;

use access::{Content, Elements, Entries};
pub(super) use blocks::list;
pub(super) use rehearsal::Rehearsal;

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
    /// How to feed maps to visitors, if not in the order of the encoding.
    rehearsal: Option<&'de Rehearsal>,
    seen: Seen,
    /// Whether a struct was read that has more fields than the encoding, or that does not report its fields.
    may_lack: bool,
}

/// What was seen of the struct that is being read.
#[derive(Debug, Default)]
struct Seen {
    /// How many values were skipped because the type has no field for them.
    unwanted: usize,
    /// Whether keys were read as field names.
    has_names: bool,
}

impl<'de> Deserializer<'de> {
    /// Creates a deserializer at the start of `input`.
    pub fn new(input: &'de [u8]) -> Self {
        Self {
            reader: Reader { input, position: 0 },
            depth: 0,
            somes: 0,
            rehearsal: None,
            seen: Seen::default(),
            may_lack: false,
        }
    }

    pub(super) fn rehearsing(input: &'de [u8], rehearsal: &'de Rehearsal) -> Self {
        Self { rehearsal: Some(rehearsal), ..Self::new(input) }
    }

    /// Returns how many bytes have been read.
    pub fn position(&self) -> usize {
        self.reader.position
    }

    /// Fails if bytes are left.
    pub fn finish(&self) -> Result<(), DecodeError> {
        self.reader.finish()
    }

    /// Returns whether the encoding may lack a field of the type. Only encoding the value again shows whether a field is
    /// missing.
    pub(super) fn may_lack_fields(&self) -> bool {
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
            Item::Typed(kind, bytes) => numbers::visit(kind, bytes, visitor),
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

    /// Reads the head of a map. Returns the number of entries.
    pub(crate) fn map(&mut self) -> Result<usize, DecodeError> {
        self.with_item(|_, item| match item {
            Item::Map(count) => Ok(count),
            other => Err(de::Error::invalid_type(other.unexpected(), &"a map")),
        })
    }

    /// Reads a text and returns its bytes, which are not checked to be UTF-8.
    pub(crate) fn name(&mut self) -> Result<&'de [u8], DecodeError> {
        self.reader.name()
    }

    /// Skips the next item of any type. Checks only that the item ends within the input.
    pub(crate) fn pass(&mut self) -> Result<(), DecodeError> {
        self.reader.pass()
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
        if rest.first() == Some(&head::NULL) {
            self.reader.position += 1;
            visitor.visit_none()
        } else if rest.starts_with(&head::WRAP) {
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
        if name != encoded::MARKER {
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
            Item::Bytes(bytes) => numbers::visit(Kind::U8, bytes, visitor),
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
            Item::Bytes(bytes) => numbers::visit(Kind::U8, bytes, visitor),
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

/// Passes the next item to a seed.
impl<'de> Deserializer<'de> {
    fn next<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, DecodeError> {
        seed.deserialize(self)
    }
}
