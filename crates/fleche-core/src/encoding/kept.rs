//! Values that remember what their encoding is like, so that whoever needs no more than that need not write it.

use std::{cell::Cell, fmt, sync::Arc};

use super::EncodeError;

/// The name of the newtype struct by which our serializer knows such a value. It has no encoding of its own, in this
/// format as in others.
pub(crate) const MARKER: &str = "$fleche_core::Hashed";

/// A value that remembers.
pub(crate) trait Kept: Send + Sync {
    /// The BLAKE3 hash of its encoding; `None` where that is short enough to stand for itself.
    fn hash(&self) -> Result<Option<[u8; 32]>, EncodeError>;

    /// Appends the encoding.
    fn encode(&self, buffer: &mut Vec<u8>) -> Result<(), EncodeError>;
}

impl fmt::Debug for dyn Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that remembers its digest")
    }
}

thread_local! {
    /// Whether such a value is asked for, right now.
    static ASKED: Cell<bool> = const { Cell::new(false) };
    static HANDED_OVER: Cell<Option<Arc<dyn Kept>>> = const { Cell::new(None) };
}

/// What the content of a marked newtype struct hands over in place of writing itself, if it does while this runs.
// Serde has no way for it, so it goes beside.
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

/// For the content of a marked newtype struct: whether it was asked for the value, which is handed over then. There is
/// nothing to be written then.
pub(crate) fn hand_over(kept: impl FnOnce() -> Arc<dyn Kept>) -> bool {
    ASKED.take() && HANDED_OVER.try_with(|handed_over| handed_over.set(Some(kept()))).is_ok()
}
