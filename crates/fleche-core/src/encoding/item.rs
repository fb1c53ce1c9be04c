//! Single items of the encoding, for code that encodes without a serializer.

use super::head;

/// Appends the head of an array of `len` items, which the caller appends. Not for arrays of numbers, which are typed
/// arrays.
pub(crate) fn array(out: &mut Vec<u8>, len: usize) {
    head::write(out, head::ARRAY, len as u64);
}

/// Appends a text.
#[inline]
pub(crate) fn text(out: &mut Vec<u8>, text: &str) {
    // One reservation for both parts.
    out.reserve(head::LONGEST + text.len());
    head::write(out, head::TEXT, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Appends a byte string.
pub(crate) fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    head::write(out, head::BYTES, bytes.len() as u64);
    out.extend_from_slice(bytes);
}
