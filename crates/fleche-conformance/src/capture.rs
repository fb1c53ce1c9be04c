//! Turns panics into messages that say what and where, without the noise of the default hook.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    panic::{self, AssertUnwindSafe},
    sync::{Barrier, Once},
    thread,
};

thread_local! {
    static CAPTURING: Cell<bool> = const { Cell::new(false) };
    static MESSAGE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs this; if it panics, the message and the place.
pub(crate) fn capture<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    install_hook();
    let before = CAPTURING.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(run));
    CAPTURING.set(before);
    result.map_err(|payload| MESSAGE.take().unwrap_or_else(|| text_of(&*payload)))
}

/// The last panic on this thread under [`capture`] that somebody else caught; `None` if there was none.
pub(crate) fn caught_by_others() -> Option<String> {
    MESSAGE.take()
}

/// Runs this on so many threads at once, which begin together, and collects what they return. A panic in one becomes a
/// panic here, once all are done.
pub(crate) fn together<T: Send>(threads: u64, run: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(usize::try_from(threads).expect("a few threads"));
    let work = |nth| {
        barrier.wait();
        capture(|| run(nth))
    };
    let results: Vec<Result<T, String>> = thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..threads).map(|nth| scope.spawn(move || work(nth))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|payload| Err(text_of(&*payload)))).collect()
    });
    let raise = |message: String| panic::resume_unwind(Box::new(message));
    results.into_iter().map(|result| result.unwrap_or_else(raise)).collect()
}

/// The hook is the process's: it is put in front of the one that is there, and only takes what happens under `capture`.
fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let next = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !CAPTURING.get() {
                return next(info);
            }
            let place = info.location().map_or(String::new(), |location| format!(" ({location})"));
            MESSAGE.set(Some(format!("{}{place}", text_of(info.payload()))));
        }));
    });
}

fn text_of(payload: &dyn Any) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_message_with_its_place() {
        let message = capture(|| panic!("no {}", "luck")).unwrap_err();
        assert!(message.starts_with("no luck (") && message.contains("capture.rs"), "{message}");
    }

    #[test]
    fn a_panic_on_one_thread_of_several_is_the_callers() {
        let message = capture(|| together(3, |nth| assert_ne!(nth, 1, "unlucky"))).unwrap_err();
        assert!(message.contains("unlucky"), "{message}");
    }
}
