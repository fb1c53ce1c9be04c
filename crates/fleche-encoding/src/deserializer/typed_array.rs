//! Typed arrays: serde's access types for them, and decoding in one block for the usual list types.

use std::{
    any::{Any, TypeId},
    sync::Arc,
};

use serde::de::{self, DeserializeSeed, SeqAccess, Visitor};

use crate::{
    error::{DecodeError, DecodeErrorKind, ensure_all_read},
    header::{ENCODED_MARKER, MAX_DEPTH},
    number::{Kind, Number},
    reader::{Item, Reader},
};

/// Passes a typed array to `visitor`. The length of `bytes` is a multiple of the number's size.
pub(crate) fn visit<'de, V: Visitor<'de>>(kind: Kind, bytes: &'de [u8], visitor: V) -> Result<V::Value, DecodeError> {
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
    ensure_all_read(bytes.len() / size, numbers.rest.len() / size)?;
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
    /// The number of `Some`s around the number.
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
            return Err(DecodeError::without_offset(DecodeErrorKind::TooDeep));
        }
        visitor.visit_some(self)
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        if name != ENCODED_MARKER {
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

/// The length in bytes from which comparing the type pays off.
const MIN_BLOCK: usize = 256;

/// Decodes bytes that are one typed array as one block, if `T` is a known list of these numbers. Otherwise returns
/// `None`, so that `T` decodes the bytes or reports the error.
pub(crate) fn decode_list<T: 'static>(bytes: &[u8]) -> Option<T> {
    if bytes.len() < MIN_BLOCK {
        return None;
    }
    decode_list_of(TypeId::of::<T>(), bytes)?.downcast().ok().map(|list| *list)
}

/// Like [`decode_list`], compiled once for all types.
fn decode_list_of(wanted: TypeId, bytes: &[u8]) -> Option<Box<dyn Any>> {
    macro_rules! lists {
        ($($type:ty, $kind:ident;)*) => {$(
            let numbers = || -> Option<Vec<$type>> {
                let (numbers, _) = typed(Kind::$kind, bytes)?.as_chunks();
                Some(numbers.iter().map(|le| <$type>::from_le_bytes(*le)).collect())
            };
            if wanted == TypeId::of::<Vec<$type>>() {
                return Some(Box::new(numbers()?));
            }
            if wanted == TypeId::of::<Arc<Vec<$type>>>() {
                return Some(Box::new(Arc::new(numbers()?)));
            }
            if wanted == TypeId::of::<Box<[$type]>>() {
                return Some(Box::new(numbers()?.into_boxed_slice()));
            }
            if wanted == TypeId::of::<Arc<[$type]>>() {
                return Some(Box::new(Arc::<[$type]>::from(numbers()?)));
            }
        )*};
    }
    lists! {
        u8, U8;
        u16, U16;
        u32, U32;
        u64, U64;
        i8, I8;
        i16, I16;
        i32, I32;
        i64, I64;
        f32, F32;
        f64, F64;
    }
    None
}

/// Returns the numbers, if the bytes hold exactly one typed array of this kind.
fn typed(kind: Kind, bytes: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader { input: bytes, position: 0 };
    match reader.item() {
        Ok(Item::Typed(found, numbers)) if found == kind && reader.rest().is_empty() => Some(numbers),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use serde::{Serialize, de::DeserializeOwned};

    use super::*;
    use crate::{from_slice, to_vec};

    fn check<T>(numbers: &[T])
    where
        T: Serialize + DeserializeOwned + Clone + PartialEq + Debug + 'static,
    {
        let bytes = to_vec(numbers).unwrap();
        let expected = (bytes.len() >= MIN_BLOCK).then(|| numbers.to_vec());
        assert_eq!(decode_list::<Vec<T>>(&bytes), expected);
        assert_eq!(decode_list::<Arc<Vec<T>>>(&bytes), expected.clone().map(Arc::new));
        assert_eq!(decode_list::<Box<[T]>>(&bytes), expected.clone().map(Into::into));
        assert_eq!(decode_list::<Arc<[T]>>(&bytes), expected.map(Into::into));
        assert_eq!(from_slice::<Vec<T>>(&bytes).unwrap(), numbers);
        for damaged in [&bytes[1..], &bytes[..bytes.len() - 1], &[&bytes[..], &[0]].concat()] {
            assert_eq!(decode_list::<Vec<T>>(damaged), None);
        }
    }

    macro_rules! check_all {
        ($($type:ty)*) => {$(
            check::<$type>(&[<$type>::MAX]);
            for times in [0, 1, 100, 1000] {
                check::<$type>(&[<$type>::MIN, <$type>::default(), <$type>::MAX].repeat(times));
            }
        )*};
    }

    #[test]
    fn lists_of_every_kind_round_trip() {
        check_all!(u8 u16 u32 u64 i8 i16 i32 i64 f32 f64);
    }

    #[test]
    fn other_types_are_not_decoded_in_blocks() {
        let bytes = to_vec(&vec![7_u32; 100]).unwrap();
        assert_eq!(decode_list::<Vec<i32>>(&bytes), None);
        assert_eq!(decode_list::<Vec<f64>>(&bytes), None);
        assert_eq!(decode_list::<Vec<u128>>(&bytes), None);
        assert_eq!(decode_list::<Vec<Option<u32>>>(&bytes), None);
        assert_eq!(decode_list::<Vec<u32>>(&to_vec(&"text".repeat(100)).unwrap()), None);
    }
}
