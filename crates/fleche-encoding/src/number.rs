//! The primitive number types of typed arrays (RFC 8746), with their tags and sizes.

use crate::header;

/// A primitive number type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    U8,
    U16,
    U32,
    U64,
    I8,
    I16,
    I32,
    I64,
    F32,
    F64,
}

impl Kind {
    /// Returns the tag of a little-endian array of these numbers (RFC 8746 §2.1, §2.2).
    pub(crate) fn tag(self) -> u8 {
        match self {
            Self::U8 => 64,
            Self::U16 => 69,
            Self::U32 => 70,
            Self::U64 => 71,
            Self::I8 => 72,
            Self::I16 => 77,
            Self::I32 => 78,
            Self::I64 => 79,
            Self::F32 => 85,
            Self::F64 => 86,
        }
    }

    pub(crate) fn from_tag(tag: u64) -> Option<Self> {
        Some(match tag {
            64 => Self::U8,
            69 => Self::U16,
            70 => Self::U32,
            71 => Self::U64,
            72 => Self::I8,
            77 => Self::I16,
            78 => Self::I32,
            79 => Self::I64,
            85 => Self::F32,
            86 => Self::F64,
            _ => return None,
        })
    }

    /// Returns the size of one number in bytes.
    #[inline]
    pub(crate) fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    /// Reads a little-endian number from the start of `bytes`. Returns zero if there are too few bytes.
    #[inline]
    pub(crate) fn read(self, bytes: &[u8]) -> Number {
        match self {
            Self::U8 => Number::Unsigned(u8::from_le_bytes(first(bytes)).into()),
            Self::U16 => Number::Unsigned(u16::from_le_bytes(first(bytes)).into()),
            Self::U32 => Number::Unsigned(u32::from_le_bytes(first(bytes)).into()),
            Self::U64 => Number::Unsigned(u64::from_le_bytes(first(bytes))),
            Self::I8 => Number::Signed(i8::from_le_bytes(first(bytes)).into()),
            Self::I16 => Number::Signed(i16::from_le_bytes(first(bytes)).into()),
            Self::I32 => Number::Signed(i32::from_le_bytes(first(bytes)).into()),
            Self::I64 => Number::Signed(i64::from_le_bytes(first(bytes))),
            Self::F32 => Number::F32(f32::from_le_bytes(first(bytes))),
            Self::F64 => Number::F64(f64::from_le_bytes(first(bytes))),
        }
    }
}

#[inline]
fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.first_chunk().copied().unwrap_or([0; N])
}

/// A single number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    Unsigned(u64),
    Signed(i64),
    F32(f32),
    F64(f64),
}

impl Number {
    /// Appends the number as an item.
    #[inline]
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Unsigned(value) => header::write(out, header::UNSIGNED, value),
            // The complement of a negative number n is -1 - n, the argument that CBOR requires.
            Self::Signed(value) if value < 0 => header::write(out, header::NEGATIVE, (!value).cast_unsigned()),
            Self::Signed(value) => header::write(out, header::UNSIGNED, value.cast_unsigned()),
            Self::F32(value) => {
                let mut item = [header::F32; 5];
                item[1..].copy_from_slice(&value.to_be_bytes());
                out.extend_from_slice(&item);
            }
            Self::F64(value) => {
                let mut item = [header::F64; 9];
                item[1..].copy_from_slice(&value.to_be_bytes());
                out.extend_from_slice(&item);
            }
        }
    }
}

/// Appends an integer of up to 128 bits: as a plain integer if its argument fits into 64 bits, else as a bignum.
pub(crate) fn write_wide(out: &mut Vec<u8>, negative: bool, argument: u128) {
    if let Ok(argument) = u64::try_from(argument) {
        return header::write(out, if negative { header::NEGATIVE } else { header::UNSIGNED }, argument);
    }
    header::write(out, header::TAG, if negative { header::NEGATIVE_BIGNUM } else { header::POSITIVE_BIGNUM });
    let be = argument.to_be_bytes();
    let digits = be.get(argument.leading_zeros() as usize / 8..).unwrap_or_default();
    header::write(out, header::BYTES, digits.len() as u64);
    out.extend_from_slice(digits);
}
