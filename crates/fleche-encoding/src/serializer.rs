//! The serializer: writes the canonical encoding of a value into a buffer.

mod array;
mod encoder;
mod map;
mod number_probe;

use std::{
    fmt::{self, Write as _},
    io,
    sync::Arc,
};

use array::{Array, ArraySerializer};
use encoder::{Encoder, Text};
use map::MapSerializer;
use number_probe::NumberProbe;
use serde::{Serialize, ser};

use crate::{
    digest::{CACHED_DIGEST_MARKER, CachedDigest, request_cached},
    error::EncodeError,
    header,
    header::{ENCODED_MARKER, MAX_DEPTH},
    number::{Kind, Number, write_wide},
    permuted_maps::EntryOrders,
    reader,
};

/// Encodes `value`.
///
/// Fails if the value's `Serialize` does, if a map has a key twice, and beyond [`MAX_DEPTH`].
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, EncodeError> {
    // Most values are small; this saves them the first few reallocations.
    let mut buffer = Vec::with_capacity(64);
    encode(&mut buffer, None, value)?;
    Ok(buffer)
}

/// Encodes `value` and writes it to `writer` in one piece, so that nothing is written if encoding fails.
///
/// Fails as [`to_vec`] does, and with [`EncodeError::Write`] if `writer` does.
pub fn to_writer<W: io::Write, T: Serialize + ?Sized>(mut writer: W, value: &T) -> Result<(), EncodeError> {
    writer.write_all(&to_vec(value)?).map_err(EncodeError::Write)
}

/// Encodes `value` at the end of `buffer`. If encoding fails (as in [`to_vec`]), the buffer is unchanged.
#[inline]
pub fn append<T: Serialize + ?Sized>(buffer: &mut Vec<u8>, value: &T) -> Result<(), EncodeError> {
    unchanged_on_error(buffer, |buffer| encode(buffer, None, value))
}

/// Like [`append`], but a value that caches its digest is not encoded and is put into `cached`.
pub fn append_unless_cached<T: Serialize + ?Sized>(
    buffer: &mut Vec<u8>,
    cached: &mut Option<Arc<dyn CachedDigest>>,
    value: &T,
) -> Result<(), EncodeError> {
    unchanged_on_error(buffer, |buffer| {
        let mut out = Encoder::new(buffer, None);
        out.cached = Some(cached);
        encode_with(&mut out, value)
    })
}

#[inline]
fn unchanged_on_error(
    buffer: &mut Vec<u8>,
    encode: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let start = buffer.len();
    let encoded = encode(buffer);
    if encoded.is_err() {
        buffer.truncate(start);
    }
    encoded
}

/// Appends the encoding of `value`. Records the order of the entries of maps in `orders`, if given.
///
/// If it fails, the bytes that were written before stay in the buffer.
#[inline]
pub(crate) fn encode<T: Serialize + ?Sized>(
    bytes: &mut Vec<u8>,
    orders: Option<&mut EntryOrders>,
    value: &T,
) -> Result<(), EncodeError> {
    encode_with(&mut Encoder::new(bytes, orders), value)
}

fn encode_with<T: Serialize + ?Sized>(out: &mut Encoder<'_>, value: &T) -> Result<(), EncodeError> {
    encode_item(out, value)?;
    if !out.is_complete() {
        return Err(EncodeError::Misuse("it continued after a part of it had failed"));
    }
    out.leave_spare();
    Ok(())
}

/// Appends the encoding of one item.
#[inline]
fn encode_item<T: Serialize + ?Sized>(out: &mut Encoder<'_>, value: &T) -> Result<(), EncodeError> {
    value.serialize(Serializer { out, slot: None })
}

/// Serializes one item, which is an element of the array in `slot` if there is one.
struct Serializer<'a, 'b> {
    out: &'a mut Encoder<'b>,
    slot: Option<&'a mut Array>,
}

impl<'a, 'b> Serializer<'a, 'b> {
    /// Returns the encoder for an item that is not a number.
    #[inline]
    fn item(self) -> &'a mut Encoder<'b> {
        if let Some(array) = self.slot {
            array.item(self.out);
        }
        self.out
    }

    /// Serializes a value that may have a cached digest. If the caller has asked for the digest, and the value has one, stores
    /// the digest instead.
    fn marked<T: Serialize + ?Sized>(self, value: &T) -> Result<(), EncodeError> {
        let out = &mut *self.out;
        let is_complete = self.slot.is_none() && out.depth == 0 && out.somes == 0;
        if let Some(cached) = out.cached.as_deref_mut().filter(|_| is_complete) {
            // The probe refuses any other type with this marker before it calls anything inside.
            *cached = request_cached(|| drop(value.serialize(NumberProbe)));
            if cached.is_some() {
                return Ok(());
            }
        }
        value.serialize(self)
    }

    #[inline]
    fn number<const N: usize>(self, kind: Kind, le: [u8; N], number: Number) {
        match self.slot {
            Some(array) => array.number(self.out, kind, le, number),
            None => number.write(self.out.bytes),
        }
    }
}

/// The methods for the numbers that typed arrays consist of.
macro_rules! numbers {
    ($($method:ident $type:ty, $kind:ident, $number:ident;)*) => {$(
        #[inline]
        fn $method(self, value: $type) -> Result<(), EncodeError> {
            self.number(Kind::$kind, value.to_le_bytes(), Number::$number(value.into()));
            Ok(())
        }
    )*};
}

impl<'a, 'b> ser::Serializer for Serializer<'a, 'b> {
    type Ok = ();
    type Error = EncodeError;
    type SerializeSeq = ArraySerializer<'a, 'b>;
    type SerializeTuple = ArraySerializer<'a, 'b>;
    type SerializeTupleStruct = ArraySerializer<'a, 'b>;
    type SerializeTupleVariant = ArraySerializer<'a, 'b>;
    type SerializeMap = MapSerializer<'a, 'b>;
    type SerializeStruct = MapSerializer<'a, 'b>;
    type SerializeStructVariant = MapSerializer<'a, 'b>;

    numbers! {
        serialize_u8 u8, U8, Unsigned;
        serialize_u16 u16, U16, Unsigned;
        serialize_u32 u32, U32, Unsigned;
        serialize_u64 u64, U64, Unsigned;
        serialize_i8 i8, I8, Signed;
        serialize_i16 i16, I16, Signed;
        serialize_i32 i32, I32, Signed;
        serialize_i64 i64, I64, Signed;
        serialize_f32 f32, F32, F32;
        serialize_f64 f64, F64, F64;
    }

    fn serialize_i128(self, value: i128) -> Result<(), EncodeError> {
        let negative = value < 0;
        write_wide(self.item().bytes, negative, if negative { !value } else { value }.cast_unsigned());
        Ok(())
    }

    fn serialize_u128(self, value: u128) -> Result<(), EncodeError> {
        write_wide(self.item().bytes, false, value);
        Ok(())
    }

    #[inline]
    fn serialize_bool(self, value: bool) -> Result<(), EncodeError> {
        self.item().bytes.push(if value { header::TRUE } else { header::FALSE });
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), EncodeError> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result<(), EncodeError> {
        self.item().text(value);
        Ok(())
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, value: &T) -> Result<(), EncodeError> {
        let mut text = std::mem::take(&mut self.out.scratch);
        text.clear();
        write!(Text(&mut text), "{value}")
            .map_err(|_| ser::Error::custom("a `Display` implementation returned an error"))?;
        let out = self.item();
        header::write(out.bytes, header::TEXT, text.len() as u64);
        out.bytes.extend_from_slice(&text);
        out.scratch = text;
        Ok(())
    }

    #[inline]
    fn serialize_bytes(self, value: &[u8]) -> Result<(), EncodeError> {
        if self.out.splices {
            // Checked because any type can use the marker's name, and because the nesting depth is limited.
            reader::check(value, self.out.depth).map_err(ser::Error::custom)?;
            self.item().bytes.extend_from_slice(value);
            return Ok(());
        }
        let out = self.item();
        header::write(out.bytes, header::BYTES, value.len() as u64);
        out.bytes.extend_from_slice(value);
        Ok(())
    }

    #[inline]
    fn serialize_none(self) -> Result<(), EncodeError> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), EncodeError> {
        let out = self.item();
        let start = out.bytes.len();
        out.somes += 1;
        if out.depth + out.somes > MAX_DEPTH {
            return Err(EncodeError::TooDeep);
        }
        encode_item(out, value)?;
        out.somes -= 1;
        if header::needs_wrap(out.bytes.get(start..).unwrap_or_default()) {
            out.bytes.splice(start..start, header::WRAP);
        }
        Ok(())
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), EncodeError> {
        self.item().bytes.push(header::NULL);
        Ok(())
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), EncodeError> {
        self.serialize_unit()
    }

    #[inline]
    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), EncodeError> {
        self.serialize_str(variant)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<(), EncodeError> {
        if name == CACHED_DIGEST_MARKER {
            return self.marked(value);
        }
        if name != ENCODED_MARKER {
            return value.serialize(self);
        }
        self.out.splices = true;
        let written = value.serialize(Serializer { out: &mut *self.out, slot: self.slot });
        self.out.splices = false;
        written
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        let out = self.item();
        let outer = out.variant(variant)?;
        encode_item(out, value)?;
        out.leave(&outer);
        Ok(())
    }

    #[inline]
    fn serialize_seq(self, length: Option<usize>) -> Result<ArraySerializer<'a, 'b>, EncodeError> {
        let out = self.item();
        let outer = out.enter()?;
        Ok(ArraySerializer::new(out, outer, length))
    }

    fn collect_seq<I: IntoIterator<Item: Serialize>>(self, elements: I) -> Result<(), EncodeError> {
        let mut elements = elements.into_iter();
        let (least, most) = elements.size_hint();
        let mut array = self.serialize_seq(most.filter(|most| *most == least))?;
        // The first two elements decide whether to start with a typed array.
        elements.by_ref().take(2).try_for_each(|element| array.element(&element))?;
        if least >= array::LONG {
            let other = array.numbers(&mut elements);
            other.map_or(Ok(()), |element| array.element(&element))?;
        }
        elements.try_for_each(|element| array.element(&element))?;
        array.finish();
        Ok(())
    }

    #[inline]
    fn serialize_tuple(self, length: usize) -> Result<ArraySerializer<'a, 'b>, EncodeError> {
        self.serialize_seq(Some(length))
    }

    #[inline]
    fn serialize_tuple_struct(self, _: &'static str, length: usize) -> Result<ArraySerializer<'a, 'b>, EncodeError> {
        self.serialize_seq(Some(length))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<ArraySerializer<'a, 'b>, EncodeError> {
        let out = self.item();
        let outer = out.variant_of_many(variant)?;
        Ok(ArraySerializer::new(out, outer, Some(length)))
    }

    #[inline]
    fn serialize_map(self, length: Option<usize>) -> Result<MapSerializer<'a, 'b>, EncodeError> {
        let out = self.item();
        let outer = out.enter()?;
        Ok(MapSerializer::new(out, outer, length.unwrap_or(0)))
    }

    #[inline]
    fn serialize_struct(self, _: &'static str, length: usize) -> Result<MapSerializer<'a, 'b>, EncodeError> {
        self.serialize_map(Some(length))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<MapSerializer<'a, 'b>, EncodeError> {
        let out = self.item();
        let outer = out.variant_of_many(variant)?;
        Ok(MapSerializer::new(out, outer, length))
    }

    fn is_human_readable(&self) -> bool {
        true
    }
}

impl ArraySerializer<'_, '_> {
    #[inline]
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        value.serialize(Serializer { out: self.out, slot: Some(&mut self.array) })
    }
}

macro_rules! array_like {
    ($($interface:ident $method:ident;)*) => {$(
        impl ser::$interface for ArraySerializer<'_, '_> {
            type Ok = ();
            type Error = EncodeError;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
                self.element(value)
            }

            fn end(self) -> Result<(), EncodeError> {
                self.finish();
                Ok(())
            }
        }
    )*};
}

array_like! {
    SerializeSeq serialize_element;
    SerializeTuple serialize_element;
    SerializeTupleStruct serialize_field;
    SerializeTupleVariant serialize_field;
}

impl MapSerializer<'_, '_> {
    #[inline]
    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        let entry = self.begin_value()?;
        encode_item(self.out, value)?;
        self.end_value(entry);
        Ok(())
    }
}

impl ser::SerializeMap for MapSerializer<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), EncodeError> {
        let start = self.out.bytes.len();
        encode_item(self.out, key)?;
        self.end_key(start)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.value(value)
    }

    fn end(self) -> Result<(), EncodeError> {
        self.finish()
    }
}

macro_rules! struct_like {
    ($($interface:ident)*) => {$(
        impl ser::$interface for MapSerializer<'_, '_> {
            type Ok = ();
            type Error = EncodeError;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), EncodeError> {
                let start = self.out.bytes.len();
                self.out.text(key);
                self.end_key(start)?;
                self.value(value)
            }

            fn end(self) -> Result<(), EncodeError> {
                self.finish()
            }
        }
    )*};
}

struct_like! { SerializeStruct SerializeStructVariant }
