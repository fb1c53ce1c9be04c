//! Keeps the messages of redb's panics out of the output of the tests.

use std::{panic, sync::Once};

/// Suppresses the messages of redb's panics, which the store catches and of which there are hundreds.
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
