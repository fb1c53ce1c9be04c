//! Reads one item after the other and refuses everything that this format does not write: the rules for all types.

use serde::de::Unexpected;

use crate::{
    error::{DecodeError, DecodeErrorKind},
    header::{self, MAX_DEPTH, WRAP_TAG},
    number::Kind,
};

/// An item. For an item that contains others, only its header.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Item<'de> {
    Unsigned(u64),
    /// An integer below zero, as its complement (-1 - n).
    Negative(u64),
    /// A positive integer beyond 64 bits.
    Positive(u128),
    /// A negative integer beyond 64 bits.
    WideNegative(i128),
    F32(f32),
    F64(f64),
    Bool(bool),
    Null,
    Text(&'de str),
    Bytes(&'de [u8]),
    /// Numbers, little endian.
    Typed(Kind, &'de [u8]),
    /// This many items follow.
    Array(usize),
    /// This many pairs of items follow.
    Map(usize),
    /// The content of a `Some` follows, which is null or another wrap.
    Wrap,
}

impl<'de> Item<'de> {
    /// Returns the item in the form of serde's error messages.
    pub(crate) fn unexpected(self) -> Unexpected<'de> {
        match self {
            Self::Unsigned(value) => Unexpected::Unsigned(value),
            Self::Negative(value) => {
                i64::try_from(value).map_or(Unexpected::Other("integer"), |value| Unexpected::Signed(!value))
            }
            Self::Positive(_) | Self::WideNegative(_) => Unexpected::Other("integer of more than 64 bits"),
            Self::F32(value) => Unexpected::Float(value.into()),
            Self::F64(value) => Unexpected::Float(value),
            Self::Bool(value) => Unexpected::Bool(value),
            Self::Null => Unexpected::Unit,
            Self::Text(value) => Unexpected::Str(value),
            Self::Bytes(value) => Unexpected::Bytes(value),
            Self::Typed(..) | Self::Array(_) => Unexpected::Seq,
            Self::Map(_) => Unexpected::Map,
            Self::Wrap => Unexpected::Option,
        }
    }
}

/// The input and the read position.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'de> {
    pub(crate) input: &'de [u8],
    pub(crate) position: usize,
}

impl<'de> Reader<'de> {
    pub(crate) fn rest(&self) -> &'de [u8] {
        self.input.get(self.position..).unwrap_or_default()
    }

    /// Reads an item, or only the header of one that contains others.
    pub(crate) fn item(&mut self) -> Result<Item<'de>, DecodeError> {
        let start = self.position;
        self.read_item().map_err(|kind| DecodeError::new(kind, start))
    }

    fn read_item(&mut self) -> Result<Item<'de>, DecodeErrorKind> {
        let (major, argument) = self.header()?;
        Ok(match major {
            header::UNSIGNED => Item::Unsigned(argument),
            header::NEGATIVE => Item::Negative(argument),
            header::BYTES => Item::Bytes(self.take(argument)?),
            header::TEXT => {
                Item::Text(std::str::from_utf8(self.take(argument)?).map_err(|_| DecodeErrorKind::InvalidUtf8)?)
            }
            header::ARRAY => Item::Array(self.count(argument, 1)?),
            header::MAP => Item::Map(self.count(argument, 2)?),
            header::TAG => self.tagged(argument)?,
            _ => self.simple()?,
        })
    }

    /// Reads a header. Returns its major type and its argument; the argument of a simple value is not read.
    fn header(&mut self) -> Result<(u8, u64), DecodeErrorKind> {
        let Some(initial) = self.rest().first().copied() else {
            return Err(DecodeErrorKind::EndOfInput);
        };
        let (major, info) = (initial & 0xe0, initial & 0x1f);
        if major == header::SIMPLE {
            return Ok((major, 0));
        }
        self.position += 1;
        let (argument, least) = match info {
            0..24 => return Ok((major, info.into())),
            24 => (u64::from(u8::from_be_bytes(self.array()?)), 24),
            25 => (u64::from(u16::from_be_bytes(self.array()?)), 0x100),
            26 => (u64::from(u32::from_be_bytes(self.array()?)), 0x1_0000),
            27 => (u64::from_be_bytes(self.array()?), 0x1_0000_0000),
            31 if (header::BYTES..header::TAG).contains(&major) => return Err(DecodeErrorKind::IndefiniteLength),
            _ => return Err(DecodeErrorKind::Reserved(initial)),
        };
        if argument < least { Err(DecodeErrorKind::NotShortest) } else { Ok((major, argument)) }
    }

    fn simple(&mut self) -> Result<Item<'de>, DecodeErrorKind> {
        let [initial] = self.array()?;
        Ok(match initial {
            header::FALSE => Item::Bool(false),
            header::TRUE => Item::Bool(true),
            header::NULL => Item::Null,
            header::F32 => Item::F32(f32::from_be_bytes(self.array()?)),
            header::F64 => Item::F64(f64::from_be_bytes(self.array()?)),
            0xfc..=0xfe => return Err(DecodeErrorKind::Reserved(initial)),
            0xff => return Err(DecodeErrorKind::IndefiniteLength),
            _ => return Err(DecodeErrorKind::Unsupported(initial)),
        })
    }

    fn tagged(&mut self, tag: u64) -> Result<Item<'de>, DecodeErrorKind> {
        match tag {
            WRAP_TAG if self.rest().is_empty() => Err(DecodeErrorKind::EndOfInput),
            WRAP_TAG if header::needs_wrap(self.rest()) => Ok(Item::Wrap),
            WRAP_TAG => Err(DecodeErrorKind::NeedlessWrap),
            header::POSITIVE_BIGNUM => Ok(Item::Positive(self.bignum()?)),
            header::NEGATIVE_BIGNUM => match i128::try_from(self.bignum()?) {
                Ok(complement) => Ok(Item::WideNegative(!complement)),
                Err(_) => Err(DecodeErrorKind::BigInteger),
            },
            _ => {
                let kind = Kind::from_tag(tag).ok_or(DecodeErrorKind::UnknownTag(tag))?;
                match self.header()? {
                    (header::BYTES, length) if length.is_multiple_of(kind.size() as u64) => {
                        Ok(Item::Typed(kind, self.take(length)?))
                    }
                    _ => Err(DecodeErrorKind::TypedArray(tag)),
                }
            }
        }
    }

    fn bignum(&mut self) -> Result<u128, DecodeErrorKind> {
        let (header::BYTES, length @ 9..=16) = self.header()? else {
            return Err(DecodeErrorKind::BigInteger);
        };
        match self.take(length)? {
            [0, ..] => Err(DecodeErrorKind::BigInteger),
            digits => Ok(digits.iter().fold(0, |value, digit| value << 8 | u128::from(*digit))),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeErrorKind> {
        let array = self.rest().first_chunk().copied().ok_or(DecodeErrorKind::EndOfInput)?;
        self.position += N;
        Ok(array)
    }

    fn take(&mut self, length: u64) -> Result<&'de [u8], DecodeErrorKind> {
        let length = usize::try_from(length).map_err(|_| DecodeErrorKind::EndOfInput)?;
        let taken = self.rest().get(..length).ok_or(DecodeErrorKind::EndOfInput)?;
        self.position += length;
        Ok(taken)
    }

    /// Converts a claimed number of entries, each of at least `least` bytes. Fails if the input cannot hold that many.
    fn count(&self, claimed: u64, least: usize) -> Result<usize, DecodeErrorKind> {
        match usize::try_from(claimed) {
            Ok(count) if count <= self.rest().len() / least => Ok(count),
            _ => Err(DecodeErrorKind::EndOfInput),
        }
    }

    /// Reads and checks the rest of an array, a map or a wrap; `depth` is the number of containers around the item.
    pub(crate) fn skip(&mut self, item: Item<'de>, depth: usize) -> Result<(), DecodeError> {
        match item {
            Item::Array(count) => {
                let depth = self.deeper(depth)?;
                (0..count).try_for_each(|_| self.skip_next(depth))
            }
            Item::Map(count) => {
                let mut keys = Keys::default();
                let depth = self.deeper(depth)?;
                (0..count).try_for_each(|_| {
                    let key = self.position;
                    self.skip_next(depth)?;
                    keys.next(self, key)?;
                    self.skip_next(depth)
                })
            }
            Item::Wrap => {
                let depth = self.deeper(depth)?;
                self.skip_next(depth)
            }
            _ => Ok(()),
        }
    }

    /// Reads and checks the next item, and discards it.
    pub(crate) fn skip_next(&mut self, depth: usize) -> Result<(), DecodeError> {
        let item = self.item()?;
        self.skip(item, depth)
    }

    /// Reads a text and returns its bytes, which are not checked to be UTF-8.
    pub(crate) fn text_bytes(&mut self) -> Result<&'de [u8], DecodeError> {
        let start = self.position;
        match self.header() {
            Ok((header::TEXT, length)) => self.take(length),
            Ok((major, _)) => Err(DecodeErrorKind::Unsupported(major)),
            Err(kind) => Err(kind),
        }
        .map_err(|kind| DecodeError::new(kind, start))
    }

    /// Skips the next item. Checks only that the item ends within the input.
    pub(crate) fn skip_unchecked(&mut self) -> Result<(), DecodeError> {
        let start = self.position;
        self.skip_items_unchecked().map_err(|kind| DecodeError::new(kind, start))
    }

    fn skip_items_unchecked(&mut self) -> Result<(), DecodeErrorKind> {
        let mut left = 1_usize;
        while let Some(others) = left.checked_sub(1) {
            let (major, argument) = self.header()?;
            let inside = match major {
                header::BYTES | header::TEXT => self.take(argument).map(|_| 0)?,
                header::ARRAY => self.count(argument, 1)?,
                header::MAP => 2 * self.count(argument, 2)?,
                header::TAG => 1,
                header::SIMPLE => self.simple().map(|_| 0)?,
                _ => 0,
            };
            left = others + inside;
        }
        Ok(())
    }

    fn deeper(&self, depth: usize) -> Result<usize, DecodeError> {
        if depth < MAX_DEPTH { Ok(depth + 1) } else { Err(DecodeError::new(DecodeErrorKind::TooDeep, self.position)) }
    }

    pub(crate) fn finish(&self) -> Result<(), DecodeError> {
        if self.rest().is_empty() {
            Ok(())
        } else {
            Err(DecodeError::new(DecodeErrorKind::TrailingBytes, self.position))
        }
    }
}

/// Checks that the keys of a map are in ascending order.
#[derive(Debug, Default)]
pub(crate) struct Keys<'de> {
    last: &'de [u8],
}

impl<'de> Keys<'de> {
    /// Checks the key that begins at `start` and has just been read.
    pub(crate) fn next(&mut self, reader: &Reader<'de>, start: usize) -> Result<(), DecodeError> {
        let key = reader.input.get(start..reader.position).unwrap_or_default();
        // The first key is greater than the initial empty slice, because no item is empty.
        let kind = match self.last.cmp(key) {
            std::cmp::Ordering::Less => {
                self.last = key;
                return Ok(());
            }
            std::cmp::Ordering::Equal => DecodeErrorKind::DuplicateKey,
            std::cmp::Ordering::Greater => DecodeErrorKind::UnsortedKeys,
        };
        Err(DecodeError::new(kind, start))
    }
}

/// Checks that the bytes are one item of this format, inside `depth` containers.
pub(crate) fn check(bytes: &[u8], depth: usize) -> Result<(), DecodeError> {
    let mut reader = Reader { input: bytes, position: 0 };
    reader.skip_next(depth)?;
    reader.finish()
}
