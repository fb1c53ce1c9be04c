//! Turns panics into messages with their location, without the output of the default panic hook, and limits the time of
//! closures.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    panic::{self, AssertUnwindSafe},
    sync::{
        Barrier, Once,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

thread_local! {
    static CAPTURING: Cell<bool> = const { Cell::new(false) };
    static MESSAGE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs the closure. If it panics, returns the panic's message and location as an error.
pub(crate) fn capture<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    install_hook();
    let before = CAPTURING.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(run));
    CAPTURING.set(before);
    result.map_err(|payload| MESSAGE.take().unwrap_or_else(|| text_of(&*payload)))
}

/// Takes the message of the last panic on this thread under [`capture`] that other code caught, if there was one.
pub(crate) fn take_caught_panic() -> Option<String> {
    MESSAGE.take()
}

/// Runs the closure on several threads, which begin at the same time, and returns their results in order.
///
/// # Panics
/// Panics if one of the threads panics, after all have ended.
pub(crate) fn run_together<T: Send>(threads: u64, run: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(usize::try_from(threads).expect("the number of threads fits into a usize"));
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

/// Installs a panic hook, once for the process, that handles only panics under [`capture`] and passes on all others.
fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let next = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !CAPTURING.get() {
                return next(info);
            }
            let location = info.location().map_or(String::new(), |location| format!(" ({location})"));
            MESSAGE.set(Some(format!("{}{location}", text_of(info.payload()))));
        }));
    });
}

fn text_of(payload: &dyn Any) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a message".to_owned())
}

/// Runs the closure on a thread with this name. Returns an error message if it panics or exceeds the time limit.
pub(crate) fn run_with_timeout<T: Send + 'static>(
    timeout: Duration,
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let (done, outcome) = mpsc::channel();
    let started = thread::Builder::new().name(name.to_owned()).spawn(move || {
        let result = capture(run);
        // Sending fails if the receiver has timed out.
        let _ = done.send(result);
    });
    match started {
        Err(error) => Err(format!("cannot start a thread: {error}")),
        Ok(_) => match outcome.recv_timeout(timeout) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => Err(format!("timed out after {timeout:?}; this may be a deadlock")),
            Err(RecvTimeoutError::Disconnected) => Err("the thread ended without a result".to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panic_becomes_a_message_with_its_location() {
        let message = capture(|| panic!("no {}", "luck")).unwrap_err();
        assert!(message.starts_with("no luck (") && message.contains("capture.rs"), "{message}");
    }

    #[test]
    fn panic_on_one_of_several_threads_reaches_the_caller() {
        let message = capture(|| run_together(3, |nth| assert_ne!(nth, 1, "unlucky"))).unwrap_err();
        assert!(message.contains("unlucky"), "{message}");
    }
}
