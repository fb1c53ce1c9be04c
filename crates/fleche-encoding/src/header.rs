//! Headers of CBOR items (RFC 8949 §3) in their shortest form, the limits of the format, and items without a serializer.

/// The limit of nesting for arrays, maps and wrap tags, both in encoding and in decoding.
///
/// An enum variant with content is a map of its own. A `Some` counts until an array or a map begins inside it.
pub const MAX_DEPTH: usize = 128;

/// The CBOR tag around the content of a `Some` that could be mistaken for `None` without it. It has no other use.
pub const WRAP_TAG: u64 = 0x666c_6368;

/// The header of [`WRAP_TAG`].
pub(crate) const WRAP: [u8; 5] = [0xda, 0x66, 0x6c, 0x63, 0x68];

/// The name of the newtype struct by which the serializer and the deserializer recognize an item that is already encoded.
pub(crate) const ENCODED_MARKER: &str = "$fleche_core::encoding::Encoded";

pub(crate) const UNSIGNED: u8 = 0x00;
pub(crate) const NEGATIVE: u8 = 0x20;
pub(crate) const BYTES: u8 = 0x40;
pub(crate) const TEXT: u8 = 0x60;
pub(crate) const ARRAY: u8 = 0x80;
pub(crate) const MAP: u8 = 0xa0;
pub(crate) const TAG: u8 = 0xc0;
pub(crate) const SIMPLE: u8 = 0xe0;

pub(crate) const FALSE: u8 = 0xf4;
pub(crate) const TRUE: u8 = 0xf5;
pub(crate) const NULL: u8 = 0xf6;
pub(crate) const F32: u8 = 0xfa;
pub(crate) const F64: u8 = 0xfb;

pub(crate) const POSITIVE_BIGNUM: u64 = 2;
pub(crate) const NEGATIVE_BIGNUM: u64 = 3;

/// The maximum length of a header in bytes.
pub(crate) const MAX_HEADER_LEN: usize = 9;

/// Appends the header of an item.
#[inline]
pub(crate) fn write(out: &mut Vec<u8>, major: u8, argument: u64) {
    let be = argument.to_be_bytes();
    match argument {
        0..24 => out.push(major | be[7]),
        24..0x100 => out.extend_from_slice(&[major | 0x18, be[7]]),
        _ => write_long(out, major, argument),
    }
}

fn write_long(out: &mut Vec<u8>, major: u8, argument: u64) {
    let be = argument.to_be_bytes();
    let (info, bytes) = match argument {
        ..0x1_0000 => (0x19, &be[6..]),
        0x1_0000..0x1_0000_0000 => (0x1a, &be[4..]),
        _ => (0x1b, &be[..]),
    };
    out.push(major | info);
    out.extend_from_slice(bytes);
}

/// Replaces the header of `old` bytes at `start`, and moves the bytes after it if the length changes.
pub(crate) fn rewrite(out: &mut Vec<u8>, start: usize, old: usize, major: u8, argument: u64) {
    let mut new = Vec::with_capacity(9);
    write(&mut new, major, argument);
    out.splice(start..start + old, new);
}

/// Returns whether the content of a `Some` that encodes as `item` needs the wrap tag, because it could otherwise be
/// mistaken for `None` or for a wrapped item.
#[inline]
pub(crate) fn needs_wrap(item: &[u8]) -> bool {
    item.first() == Some(&NULL) || item.starts_with(&WRAP)
}

/// Appends the header of an array of `len` items, which the caller appends. Not for arrays of numbers, which are typed
/// arrays.
#[inline]
pub fn append_array_header(out: &mut Vec<u8>, len: usize) {
    write(out, ARRAY, len as u64);
}

/// Appends a text.
#[inline]
pub fn append_text(out: &mut Vec<u8>, text: &str) {
    // One reservation for both parts.
    out.reserve(MAX_HEADER_LEN + text.len());
    write(out, TEXT, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Appends a byte string.
#[inline]
pub fn append_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write(out, BYTES, bytes.len() as u64);
    out.extend_from_slice(bytes);
}
