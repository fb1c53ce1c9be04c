//! Values that cache the hash of their encoding, so that a caller that needs only the hash does not have to encode them.

use std::{cell::Cell, fmt, sync::Arc};

use super::EncodeError;

/// The name of the newtype struct by which our serializer recognizes such a value. The marker itself has no encoding, in
/// this format and in others.
pub(crate) const MARKER: &str = "$fleche_core::Hashed";

/// A value that caches the hash of its encoding.
pub(crate) trait Kept: Send + Sync {
    /// Returns the BLAKE3 hash of the encoding; `None` if the encoding is short enough to be inline.
    fn hash(&self) -> Result<Option<[u8; 32]>, EncodeError>;

    /// Appends the encoding.
    fn encode(&self, buffer: &mut Vec<u8>) -> Result<(), EncodeError>;
}

impl fmt::Debug for dyn Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value with a cached digest")
    }
}

thread_local! {
    /// Whether the serializer is asking for such a value.
    static ASKED: Cell<bool> = const { Cell::new(false) };
    static HANDED_OVER: Cell<Option<Arc<dyn Kept>>> = const { Cell::new(None) };
}

/// Runs `write`. If the content of a marked newtype struct hands over its value instead of writing itself, returns that
/// value.
// Serde has no way to pass such a value, so it is passed through thread-local state.
pub(super) fn ask(write: impl FnOnce()) -> Option<Arc<dyn Kept>> {
    struct Asked;
    impl Drop for Asked {
        fn drop(&mut self) {
            ASKED.set(false);
        }
    }
    let asked = Asked;
    ASKED.set(true);
    write();
    drop(asked);
    HANDED_OVER.try_with(Cell::take).ok().flatten()
}

/// For the content of a marked newtype struct: hands over the value if the serializer asks for it. Returns whether it
/// did; then the content must not be written.
pub(crate) fn hand_over(kept: impl FnOnce() -> Arc<dyn Kept>) -> bool {
    ASKED.take() && HANDED_OVER.try_with(|handed_over| handed_over.set(Some(kept()))).is_ok()
}
