//! The serializer: writes the canonical encoding of a value into a buffer.

use std::{
    fmt::{self, Write as _},
    sync::Arc,
};

use serde::{Serialize, ser};

use super::{
    EncodeError, MAX_DEPTH, encoded, head,
    kept::{self, Kept},
    number::{Kind, Number, write_wide},
    reader,
};

mod array;
mod encoder;
mod map;
mod probe;
mod trace;

use array::{Array, ArraySerializer};
use encoder::{Encoder, Outside, Text};
use map::{MapSerializer, Span};
use probe::Probe;
pub(super) use trace::{Feeding, Trace};

/// Appends the encoding of `value`. Records in `trace`, if given, how maps are fed.
///
/// If it fails, what was written before stays in the buffer.
#[inline]
pub(super) fn encode<T: Serialize + ?Sized>(
    bytes: &mut Vec<u8>,
    trace: Option<&mut Trace>,
    value: &T,
) -> Result<(), EncodeError> {
    encode_with(&mut Encoder::new(bytes, trace), value)
}

/// Appends the encoding of `value`. A value with a cached digest is not encoded, and is put into `kept`.
pub(super) fn encode_or_keep<T: Serialize + ?Sized>(
    bytes: &mut Vec<u8>,
    kept: &mut Option<Arc<dyn Kept>>,
    value: &T,
) -> Result<(), EncodeError> {
    let mut out = Encoder::new(bytes, None);
    out.kept = Some(kept);
    encode_with(&mut out, value)
}

fn encode_with<T: Serialize + ?Sized>(out: &mut Encoder<'_>, value: &T) -> Result<(), EncodeError> {
    value.serialize(Serializer { out: &mut *out, slot: None })?;
    if !out.is_whole() {
        return Err(EncodeError::Misuse("it continued after a part of it had failed"));
    }
    out.leave_spare();
    Ok(())
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

    /// Serializes a value that may have a cached digest, or keeps it.
    fn marked<T: Serialize + ?Sized>(self, value: &T) -> Result<(), EncodeError> {
        let out = &mut *self.out;
        let is_whole = self.slot.is_none() && out.depth == 0 && out.somes == 0;
        if let Some(kept) = out.kept.as_deref_mut().filter(|_| is_whole) {
            // The probe refuses any other type with this marker before it calls anything inside.
            *kept = kept::ask(|| drop(value.serialize(Probe)));
            if kept.is_some() {
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
        self.item().bytes.push(if value { head::TRUE } else { head::FALSE });
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
        head::write(out.bytes, head::TEXT, text.len() as u64);
        out.bytes.extend_from_slice(&text);
        out.scratch = text;
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), EncodeError> {
        if self.out.splices {
            // Checked because any type can use the marker's name, and because the nesting depth is limited.
            reader::check(value, self.out.depth).map_err(ser::Error::custom)?;
            self.item().bytes.extend_from_slice(value);
            return Ok(());
        }
        let out = self.item();
        head::write(out.bytes, head::BYTES, value.len() as u64);
        out.bytes.extend_from_slice(value);
        Ok(())
    }

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
        out.value(value)?;
        out.somes -= 1;
        if head::needs_wrap(out.bytes.get(start..).unwrap_or_default()) {
            out.bytes.splice(start..start, head::WRAP);
        }
        Ok(())
    }

    fn serialize_unit(self) -> Result<(), EncodeError> {
        self.item().bytes.push(head::NULL);
        Ok(())
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), EncodeError> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), EncodeError> {
        self.serialize_str(variant)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<(), EncodeError> {
        if name == kept::MARKER {
            return self.marked(value);
        }
        if name != encoded::MARKER {
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
        let outside = out.variant(variant)?;
        out.value(value)?;
        out.leave(&outside);
        Ok(())
    }

    #[inline]
    fn serialize_seq(self, length: Option<usize>) -> Result<ArraySerializer<'a, 'b>, EncodeError> {
        let out = self.item();
        let outside = out.enter()?;
        Ok(ArraySerializer::new(out, outside, length))
    }

    fn collect_seq<I: IntoIterator<Item: Serialize>>(self, elements: I) -> Result<(), EncodeError> {
        let mut elements = elements.into_iter();
        let (least, most) = elements.size_hint();
        let mut array = self.serialize_seq(most.filter(|most| *most == least))?;
        // The first two elements decide whether to start with a typed array.
        elements.by_ref().take(2).try_for_each(|element| array.element(&element))?;
        if least >= array::LONG {
            array.numbers(&mut elements)?;
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
        let outside = out.variant_of_many(variant)?;
        Ok(ArraySerializer::new(out, outside, Some(length)))
    }

    fn serialize_map(self, length: Option<usize>) -> Result<MapSerializer<'a, 'b>, EncodeError> {
        let out = self.item();
        let outside = out.enter()?;
        Ok(MapSerializer::new(out, outside, length.unwrap_or(0)))
    }

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
        let outside = out.variant_of_many(variant)?;
        Ok(MapSerializer::new(out, outside, length))
    }

    fn is_human_readable(&self) -> bool {
        true
    }
}
