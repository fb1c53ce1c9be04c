//! Single items of the encoding, for what is written without a serializer.

use super::head;

/// The head of an array of so many items, which are to follow. Not for arrays of numbers: they are typed.
pub(crate) fn array(out: &mut Vec<u8>, len: usize) {
    head::write(out, head::ARRAY, len as u64);
}

/// A text.
#[inline]
pub(crate) fn text(out: &mut Vec<u8>, text: &str) {
    // Once for both.
    out.reserve(head::LONGEST + text.len());
    head::write(out, head::TEXT, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// A byte string.
pub(crate) fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    head::write(out, head::BYTES, bytes.len() as u64);
    out.extend_from_slice(bytes);
}
