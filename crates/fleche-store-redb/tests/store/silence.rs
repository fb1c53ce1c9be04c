//! Keeping what redb's panics print out of the tests' output.

use std::{panic, sync::Once};

/// Panics of redb are what the store has to catch. Hundreds of them are not to be printed.
pub(crate) fn silence_redb() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let next = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !info.location().is_some_and(|place| place.file().contains("redb-")) {
                next(info);
            }
        }));
    });
}
