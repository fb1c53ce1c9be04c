//! The one thread on which all connections of this process are driven.
//!
//! Stores are asked on any thread, one of somebody's asynchronous runtime among them, where nothing may block on a runtime.
//! So futures run here, and whoever asks waits for the answer as for any other.

use std::{
    cell::Cell,
    future::{Future, pending},
    process,
    sync::{Arc, Mutex, PoisonError, mpsc},
    time::Duration,
};

use fleche_core::{
    Error, Result,
    claim::{ListensHere, Owed},
    starter, waiting,
};
use tokio::runtime::{Builder, Handle};

/// Most answers come sooner. Only for those that do not, the pool of the thread that waits hears of it.
const SOON: Duration = Duration::from_millis(2);

#[derive(Clone)]
struct Runtime {
    handle: Handle,
    /// What it was asked to run, and has not.
    owed: Arc<Owed>,
    /// A process that this one forked has neither the thread nor the connections.
    process: u32,
}

static RUNTIME: Mutex<Option<Runtime>> = Mutex::new(None);

thread_local! {
    /// Whether this is the thread. It can be asked while a thread ends, which may be what closes a store.
    static IS_THE_ONE: Cell<bool> = const { Cell::new(false) };
}

/// What the future gives, which runs to its end whatever becomes of the caller.
///
/// # Errors
/// [`Error::Backend`] if there is no thread to run it on, or it panicked.
pub(crate) fn run<T: Send + 'static>(
    store: &str,
    future: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let runtime = runtime(store)?;
    let (tell, hears) = mpsc::sync_channel(1);
    let owed = runtime.owed.ask();
    runtime.handle.spawn(async move {
        let _owed = owed;
        // Whoever asked waits for the answer.
        let _ = tell.send(future.await);
    });
    let answer = match hears.recv_timeout(SOON) {
        Ok(answer) => return answer,
        Err(mpsc::RecvTimeoutError::Timeout) => waiting::blocking(|| hears.recv().ok()),
        Err(mpsc::RecvTimeoutError::Disconnected) => None,
    };
    answer.unwrap_or_else(|| Err(Error::backend(store)("a panic in the driver of the database")))
}

/// Runs the future and waits for its end, where that is not waiting for oneself.
pub(crate) fn finish(future: impl Future<Output = ()> + Send + 'static) {
    // Without a runtime there never were connections.
    let Some(runtime) = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner).clone() else { return };
    if runtime.process != process::id() {
        return;
    }
    let (tell, hears) = mpsc::sync_channel(1);
    runtime.handle.spawn(async move {
        future.await;
        // Nobody listens where the end is not waited for.
        let _ = tell.send(());
    });
    if !IS_THE_ONE.get() {
        let _ = hears.recv();
    }
}

fn runtime(store: &str) -> Result<Runtime> {
    let mut runtime = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = &*runtime {
        if runtime.process != process::id() {
            return Err(Error::backend(store)(
                "it was opened before this process was forked, and cannot be used in both",
            ));
        }
        return Ok(runtime.clone());
    }
    let started = start().map_err(Error::backend(store))?;
    Ok(runtime.insert(started).clone())
}

fn start() -> std::io::Result<Runtime> {
    let (tell, hears) = mpsc::channel();
    // Threads of drivers are started by this one, and so work in the program's directory as it does.
    starter::spawn("fleche-sql", move || match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            IS_THE_ONE.set(true);
            // Whoever started this thread waits for the handle.
            let (handle, owed) = (runtime.handle().clone(), Arc::<Owed>::default());
            let _listens = ListensHere::begin(owed.clone());
            let _ = tell.send(Ok(Runtime { handle, owed, process: process::id() }));
            runtime.block_on(pending::<()>());
        }
        Err(error) => drop(tell.send(Err(error))),
    })?;
    hears.recv().unwrap_or_else(|_| Err(std::io::Error::other("the thread of the database's driver ended")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_future_runs_whether_or_not_the_caller_is_on_a_runtime() {
        assert_eq!(run("store", async { Ok(1) }).unwrap(), 1);
        let theirs = Builder::new_current_thread().build().unwrap();
        assert_eq!(theirs.block_on(async { run("store", async { Ok(2) }) }).unwrap(), 2);
    }

    #[test]
    fn a_panic_is_an_error_and_costs_the_others_nothing() {
        let error = run::<()>("the store", async { panic!("tried") }).unwrap_err();
        assert!(error.to_string().starts_with("the store: a panic"), "{error}");
        assert_eq!(run("store", async { Ok(3) }).unwrap(), 3);
    }

    #[test]
    fn the_end_of_a_future_is_waited_for_but_by_the_thread_that_runs_it() {
        let within = async {
            finish(async {});
            Ok(())
        };
        run("store", within).unwrap();
        let (tell, hears) = mpsc::channel();
        finish(async move { tell.send(()).unwrap() });
        hears.try_recv().unwrap();
    }
}
