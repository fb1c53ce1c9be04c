//! Runs what might not come back, and gives it up in the end.

use std::{
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use crate::capture::capture;

/// Runs this on a thread of its own, named so. A panic, or no end within the time, is a message.
pub(crate) fn within<T: Send + 'static>(
    patience: Duration,
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let (done, outcome) = mpsc::channel();
    let started = thread::Builder::new().name(name.to_owned()).spawn(move || {
        let result = capture(run);
        // Nobody listens any more where it has been given up.
        let _ = done.send(result);
    });
    match started {
        Err(error) => Err(format!("no thread to run it on: {error}")),
        Ok(_) => match outcome.recv_timeout(patience) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => Err(format!("no end after {patience:?}: a deadlock?")),
            Err(RecvTimeoutError::Disconnected) => Err("its thread died".to_owned()),
        },
    }
}
