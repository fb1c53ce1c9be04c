//! The head of a CBOR item: its major type and its argument (RFC 8949 §3), in the shortest form.

pub(super) const UNSIGNED: u8 = 0x00;
pub(super) const NEGATIVE: u8 = 0x20;
pub(super) const BYTES: u8 = 0x40;
pub(super) const TEXT: u8 = 0x60;
pub(super) const ARRAY: u8 = 0x80;
pub(super) const MAP: u8 = 0xa0;
pub(super) const TAG: u8 = 0xc0;
pub(super) const SIMPLE: u8 = 0xe0;

pub(super) const FALSE: u8 = 0xf4;
pub(super) const TRUE: u8 = 0xf5;
pub(super) const NULL: u8 = 0xf6;
pub(super) const F32: u8 = 0xfa;
pub(super) const F64: u8 = 0xfb;

pub(super) const POSITIVE_BIGNUM: u64 = 2;
pub(super) const NEGATIVE_BIGNUM: u64 = 3;

/// The head of [`WRAP_TAG`](super::WRAP_TAG).
pub(super) const WRAP: [u8; 5] = [0xda, 0x66, 0x6c, 0x63, 0x68];

/// The maximum length of a head in bytes.
pub(super) const LONGEST: usize = 9;

/// Appends the head of an item.
#[inline]
pub(super) fn write(out: &mut Vec<u8>, major: u8, argument: u64) {
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

/// Replaces the head of `old` bytes at `start`, and moves the bytes after it if the length changes.
pub(super) fn rewrite(out: &mut Vec<u8>, start: usize, old: usize, major: u8, argument: u64) {
    let mut new = Vec::with_capacity(9);
    write(&mut new, major, argument);
    out.splice(start..start + old, new);
}

/// Returns whether the content of a `Some` that encodes as `item` needs the wrap tag, because it could otherwise be
/// mistaken for `None` or for a wrapped item.
#[inline]
pub(super) fn needs_wrap(item: &[u8]) -> bool {
    item.first() == Some(&NULL) || item.starts_with(&WRAP)
}
