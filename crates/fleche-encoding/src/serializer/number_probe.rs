//! Determines whether a value is a primitive number, without a buffer: the fast path for long sequences of numbers.

use std::fmt;

use serde::{Serialize, ser};

use crate::{header::ENCODED_MARKER, number::Kind};

/// Serializes primitive numbers to their bytes, also inside newtype structs. Refuses everything else at once.
pub(crate) struct NumberProbe;

/// The little-endian bytes of a number.
#[derive(Clone, Copy)]
pub(crate) enum Le {
    One([u8; 1]),
    Two([u8; 2]),
    Four([u8; 4]),
    Eight([u8; 8]),
}

/// The error for a value that is not a primitive number.
#[derive(Debug)]
pub(crate) struct NotANumber;

impl std::error::Error for NotANumber {}

impl fmt::Display for NotANumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a number")
    }
}

impl ser::Error for NotANumber {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

type Probed = Result<(Kind, Le), NotANumber>;
type Never = ser::Impossible<(Kind, Le), NotANumber>;

macro_rules! numbers {
    ($($method:ident $type:ty, $kind:ident, $size:ident;)*) => {$(
        #[inline]
        fn $method(self, value: $type) -> Probed {
            Ok((Kind::$kind, Le::$size(value.to_le_bytes())))
        }
    )*};
}

macro_rules! refused {
    ($($method:ident ($($argument:ty),*) -> $type:ty;)*) => {$(
        #[inline]
        fn $method(self, $(_: $argument),*) -> Result<$type, NotANumber> {
            Err(NotANumber)
        }
    )*};
}

impl ser::Serializer for NumberProbe {
    type Ok = (Kind, Le);
    type Error = NotANumber;
    type SerializeSeq = Never;
    type SerializeTuple = Never;
    type SerializeTupleStruct = Never;
    type SerializeTupleVariant = Never;
    type SerializeMap = Never;
    type SerializeStruct = Never;
    type SerializeStructVariant = Never;

    numbers! {
        serialize_u8 u8, U8, One;
        serialize_u16 u16, U16, Two;
        serialize_u32 u32, U32, Four;
        serialize_u64 u64, U64, Eight;
        serialize_i8 i8, I8, One;
        serialize_i16 i16, I16, Two;
        serialize_i32 i32, I32, Four;
        serialize_i64 i64, I64, Eight;
        serialize_f32 f32, F32, Four;
        serialize_f64 f64, F64, Eight;
    }

    refused! {
        serialize_i128(i128) -> Self::Ok;
        serialize_u128(u128) -> Self::Ok;
        serialize_bool(bool) -> Self::Ok;
        serialize_char(char) -> Self::Ok;
        serialize_str(&str) -> Self::Ok;
        serialize_bytes(&[u8]) -> Self::Ok;
        serialize_none() -> Self::Ok;
        serialize_unit() -> Self::Ok;
        serialize_unit_struct(&'static str) -> Self::Ok;
        serialize_unit_variant(&'static str, u32, &'static str) -> Self::Ok;
        serialize_seq(Option<usize>) -> Never;
        serialize_tuple(usize) -> Never;
        serialize_tuple_struct(&'static str, usize) -> Never;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Never;
        serialize_map(Option<usize>) -> Never;
        serialize_struct(&'static str, usize) -> Never;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Never;
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Probed {
        Err(NotANumber)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Probed {
        if name == ENCODED_MARKER { Err(NotANumber) } else { value.serialize(self) }
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Probed {
        Err(NotANumber)
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, _: &T) -> Probed {
        Err(NotANumber)
    }

    fn collect_seq<I: IntoIterator<Item: Serialize>>(self, _: I) -> Probed {
        Err(NotANumber)
    }

    fn is_human_readable(&self) -> bool {
        true
    }
}
