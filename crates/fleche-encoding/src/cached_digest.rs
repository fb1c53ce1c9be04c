//! Values that cache the hash of their encoding, so that a caller that needs only the hash does not have to encode them.
//!
//! Serde cannot pass such a value to a serializer. It is serialized as a newtype struct whose name is [`MARKER`]; the
//! serializer recognizes the name, and the value reaches it through thread-local state.

use std::{cell::Cell, fmt, sync::Arc};

use crate::error::EncodeError;

/// A value that caches the hash of its encoding.
pub trait CachedDigest: Send + Sync {
    /// Returns the BLAKE3 hash of the encoding, or `None` if the encoding is short enough to be inline.
    fn hash(&self) -> Result<Option<[u8; 32]>, EncodeError>;

    /// Appends the encoding.
    fn encode(&self, buffer: &mut Vec<u8>) -> Result<(), EncodeError>;
}

impl fmt::Debug for dyn CachedDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value with a cached digest")
    }
}

/// The name of the newtype struct that represents a value with a cached digest. The marker itself has no encoding, in
/// this format and in others.
pub const MARKER: &str = "$fleche_core::Hashed";

thread_local! {
    /// Whether the serializer asks for such a value.
    static REQUESTED: Cell<bool> = const { Cell::new(false) };
    static OFFERED: Cell<Option<Arc<dyn CachedDigest>>> = const { Cell::new(None) };
}

/// Runs `write`. Returns the value that the content of a marked newtype struct offers instead of writing itself, if it
/// does.
pub(crate) fn request(write: impl FnOnce()) -> Option<Arc<dyn CachedDigest>> {
    struct Requested;
    impl Drop for Requested {
        fn drop(&mut self) {
            REQUESTED.set(false);
        }
    }
    let requested = Requested;
    REQUESTED.set(true);
    write();
    drop(requested);
    OFFERED.try_with(Cell::take).ok().flatten()
}

/// Offers the value of a marked newtype struct to the serializer. Returns whether the serializer takes it; then the content
/// must not be written.
pub fn offer(value: impl FnOnce() -> Arc<dyn CachedDigest>) -> bool {
    REQUESTED.take() && OFFERED.try_with(|offered| offered.set(Some(value()))).is_ok()
}
