//! The thread spawner: starts threads in the program's working directory, even for callers with a private one.
//!
//! A new thread inherits the working directory of the thread that starts it. Threads of fleche that outlive a call must
//! use the program's working directory, regardless of the requesting thread.

use std::{
    io,
    sync::{
        OnceLock,
        mpsc::{Sender, channel},
    },
    thread::{Builder, JoinHandle},
};

use super::fork;

type Start = Box<dyn FnOnce() + Send>;

/// The channel to the spawner. It is set before the first thread of this process gets a private working directory.
static SPAWNER: OnceLock<Sender<Start>> = OnceLock::new();

/// Starts a thread in the program's working directory. The thread inherits nothing from the calling thread. The caller may
/// hold any lock, because the spawner takes none.
///
/// # Errors
/// Fails if the system cannot start a thread.
pub fn spawn<R: Send + 'static>(name: &str, run: impl FnOnce() -> R + Send + 'static) -> io::Result<JoinHandle<R>> {
    let builder = Builder::new().name(name.to_owned());
    // Without a spawner, no thread has a private working directory yet. A forked child does not have the spawner
    // thread.
    let Some(requests) = SPAWNER.get().filter(|_| !fork::is_child()) else { return builder.spawn(run) };
    let (reply, result) = channel();
    let start = move || {
        // The caller waits for the answer.
        let _ = reply.send(builder.spawn(run));
    };
    // If the spawner is gone, the closure and its sender are dropped, so `recv` fails.
    let _ = requests.send(Box::new(start));
    result.recv().unwrap_or_else(|_| Err(io::Error::other("the thread that starts other threads has ended")))
}

/// Starts the spawner if there is none. The first call must come from a thread without a private working directory, before
/// any thread gets one.
///
/// # Errors
/// Fails if the system cannot start a thread.
pub(crate) fn prepare() -> io::Result<()> {
    if SPAWNER.get().is_some() {
        return Ok(());
    }
    let (requests, received) = channel::<Start>();
    Builder::new().name("fleche-starter".to_owned()).spawn(move || received.into_iter().for_each(|start| start()))?;
    // If another thread was faster, its spawner stays and this one ends.
    let _ = SPAWNER.set(requests);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn threads_get_their_names_with_and_without_a_spawner() {
        let named = || spawn("a name", || thread::current().name().map(str::to_owned)).unwrap().join().unwrap();
        assert_eq!(named().as_deref(), Some("a name"));
        prepare().unwrap();
        prepare().unwrap();
        assert_eq!(named().as_deref(), Some("a name"));
    }

    #[test]
    fn panic_payload_reaches_the_joining_thread() {
        prepare().unwrap();
        let thread = spawn("panics", || std::panic::panic_any(7)).unwrap();
        assert_eq!(thread.join().unwrap_err().downcast_ref(), Some(&7));
    }
}
