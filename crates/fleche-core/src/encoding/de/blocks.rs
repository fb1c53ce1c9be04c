//! Decodes a value that is one typed array in one block, if its type is a known list of these numbers.

use std::{
    any::{Any, TypeId},
    sync::Arc,
};

use crate::encoding::{
    number::Kind,
    reader::{Item, Reader},
};

/// The length in bytes from which comparing the type pays off.
const LONG: usize = 256;

/// Decodes the list if `T` is a known list type. `None` leaves it to `T` to decode the bytes, or to report the error.
pub(in crate::encoding) fn list<T: 'static>(bytes: &[u8]) -> Option<T> {
    if bytes.len() < LONG {
        return None;
    }
    list_of(TypeId::of::<T>(), bytes)?.downcast().ok().map(|list| *list)
}

/// Like [`list`], compiled once for all types.
fn list_of(wanted: TypeId, bytes: &[u8]) -> Option<Box<dyn Any>> {
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
    use crate::encoding::{from_slice, to_vec};

    fn check<T>(numbers: &[T])
    where
        T: Serialize + DeserializeOwned + Clone + PartialEq + Debug + 'static,
    {
        let bytes = to_vec(numbers).unwrap();
        let expected = (bytes.len() >= LONG).then(|| numbers.to_vec());
        assert_eq!(list::<Vec<T>>(&bytes), expected);
        assert_eq!(list::<Arc<Vec<T>>>(&bytes), expected.clone().map(Arc::new));
        assert_eq!(list::<Box<[T]>>(&bytes), expected.clone().map(Into::into));
        assert_eq!(list::<Arc<[T]>>(&bytes), expected.map(Into::into));
        assert_eq!(from_slice::<Vec<T>>(&bytes).unwrap(), numbers);
        for damaged in [&bytes[1..], &bytes[..bytes.len() - 1], &[&bytes[..], &[0]].concat()] {
            assert_eq!(list::<Vec<T>>(damaged), None);
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
        assert_eq!(list::<Vec<i32>>(&bytes), None);
        assert_eq!(list::<Vec<f64>>(&bytes), None);
        assert_eq!(list::<Vec<u128>>(&bytes), None);
        assert_eq!(list::<Vec<Option<u32>>>(&bytes), None);
        assert_eq!(list::<Vec<u32>>(&to_vec(&"text".repeat(100)).unwrap()), None);
    }
}
