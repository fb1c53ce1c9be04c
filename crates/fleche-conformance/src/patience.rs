//! Runs a closure with a time limit.

use std::{
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use crate::capture::capture;

/// Runs the closure on a thread with this name. Returns an error message if it panics or exceeds the time limit.
pub(crate) fn within<T: Send + 'static>(
    patience: Duration,
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
        Ok(_) => match outcome.recv_timeout(patience) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => Err(format!("timed out after {patience:?}; this may be a deadlock")),
            Err(RecvTimeoutError::Disconnected) => Err("the thread ended without a result".to_owned()),
        },
    }
}
