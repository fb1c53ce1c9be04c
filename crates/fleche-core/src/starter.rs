//! The starter: the thread that starts others where whoever wants one may have a working directory of its own.
//!
//! A thread inherits the working directory of the one that starts it. What fleche starts for longer than a call works in
//! the program's, wherever it was asked for.

use std::{
    io,
    sync::{
        OnceLock,
        mpsc::{Sender, channel},
    },
    thread::{Builder, JoinHandle},
};

use crate::fork;

type Start = Box<dyn FnOnce() + Send>;

/// There since before the first thread of this process left the working directory that all share.
static STARTER: OnceLock<Sender<Start>> = OnceLock::new();

/// Starts a thread that works in the program's working directory. It inherits nothing of the one that asks for it. May be
/// called under any lock: what starts it takes none.
///
/// # Errors
/// The system starts none.
pub fn spawn<R: Send + 'static>(name: &str, run: impl FnOnce() -> R + Send + 'static) -> io::Result<JoinHandle<R>> {
    let builder = Builder::new().name(name.to_owned());
    // Nobody has a directory of its own, as long as there is none.
    // A forked child does not have the starter's thread.
    let Some(starter) = STARTER.get().filter(|_| !fork::is_child()) else { return builder.spawn(run) };
    let (tell, answer) = channel();
    let start = move || {
        // Whoever asks waits for the answer.
        let _ = tell.send(builder.spawn(run));
    };
    // Were it gone, so would be the right to tell.
    let _ = starter.send(Box::new(start));
    answer.recv().unwrap_or_else(|_| Err(io::Error::other("the thread that starts others is gone")))
}

/// Sees to it that there is a starter. To be called before a thread gets a working directory of its own, on one that has
/// none or where that was done before.
///
/// # Errors
/// The system starts no thread.
pub(crate) fn prepare() -> io::Result<()> {
    if STARTER.get().is_some() {
        return Ok(());
    }
    let (starter, wanted) = channel::<Start>();
    Builder::new().name("fleche-starter".to_owned()).spawn(move || wanted.into_iter().for_each(|start| start()))?;
    // Where another one was faster, this one's thread ends.
    let _ = STARTER.set(starter);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn threads_start_with_their_names_with_and_without_a_starter() {
        let named = || spawn("a name", || thread::current().name().map(str::to_owned)).unwrap().join().unwrap();
        assert_eq!(named().as_deref(), Some("a name"));
        prepare().unwrap();
        prepare().unwrap();
        assert_eq!(named().as_deref(), Some("a name"));
    }

    #[test]
    fn what_a_thread_panics_with_is_told_to_who_joins_it() {
        prepare().unwrap();
        let thread = spawn("panics", || std::panic::panic_any(7)).unwrap();
        assert_eq!(thread.join().unwrap_err().downcast_ref(), Some(&7));
    }
}
