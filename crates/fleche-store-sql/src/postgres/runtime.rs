//! The thread that drives all database connections of this process.
//!
//! Stores are called from any thread, including threads of asynchronous runtimes, which must not block on a runtime. So
//! futures run on this thread, and the caller waits for the result.

use std::{
    cell::Cell,
    future::{Future, pending},
    io, process,
    sync::{Arc, Mutex, mpsc},
};

use fleche_core::{
    job::blocking_hooks,
    spi::{LockResultExt, PendingReplies, ReaderThreadGuard, thread_spawner},
};
use tokio::runtime::{Builder, Handle};

use crate::{error::DbError, limit::WAIT_NOTICE_DELAY};

#[derive(Clone)]
struct Runtime {
    handle: Handle,
    /// The accepted futures whose results are outstanding.
    owed: Arc<PendingReplies>,
    /// The process that started the thread. A forked child process has neither the thread nor the connections.
    process: u32,
}

static RUNTIME: Mutex<Option<Runtime>> = Mutex::new(None);

thread_local! {
    /// Whether this is the driver thread. It can be read even while a thread ends, since a thread that ends may close a
    /// store.
    static IS_RUNTIME_THREAD: Cell<bool> = const { Cell::new(false) };
}

/// Runs the future and returns its result. The future runs to its end even if the caller is gone.
///
/// # Errors
/// Fails with [`DbError::Io`] if the driver thread cannot be started, or the future panics.
pub(crate) fn run<T: Send + 'static>(
    future: impl Future<Output = Result<T, DbError>> + Send + 'static,
) -> Result<T, DbError> {
    let runtime = runtime()?;
    let (tell, hears) = mpsc::sync_channel(1);
    let owed = runtime.owed.ask();
    runtime.handle.spawn(async move {
        let _owed = owed;
        // The caller is waiting for the result.
        let _ = tell.send(future.await);
    });
    let answer = match hears.recv_timeout(WAIT_NOTICE_DELAY) {
        Ok(answer) => return answer,
        Err(mpsc::RecvTimeoutError::Timeout) => blocking_hooks::blocking(|| hears.recv().ok()),
        Err(mpsc::RecvTimeoutError::Disconnected) => None,
    };
    answer.unwrap_or_else(|| Err(DbError::Io(io::Error::other("a panic in the database driver"))))
}

/// Runs the future and waits for its end, unless this is the driver thread itself.
pub(crate) fn finish(future: impl Future<Output = ()> + Send + 'static) {
    // Without a runtime, there are no connections.
    let Some(runtime) = RUNTIME.lock().ignore_poison().clone() else { return };
    if runtime.process != process::id() {
        return;
    }
    let (tell, hears) = mpsc::sync_channel(1);
    runtime.handle.spawn(async move {
        future.await;
        // The driver thread does not wait.
        let _ = tell.send(());
    });
    if !IS_RUNTIME_THREAD.get() {
        let _ = hears.recv();
    }
}

fn runtime() -> Result<Runtime, DbError> {
    let mut runtime = RUNTIME.lock().ignore_poison();
    if let Some(runtime) = &*runtime {
        if runtime.process != process::id() {
            let why = "it was opened before this process was forked, and cannot be used after the fork";
            return Err(DbError::Io(io::Error::other(why)));
        }
        return Ok(runtime.clone());
    }
    let started = start().map_err(DbError::Io)?;
    Ok(runtime.insert(started).clone())
}

fn start() -> io::Result<Runtime> {
    let (tell, hears) = mpsc::channel();
    // The threads of database drivers inherit this thread's working directory, which is that of the program.
    thread_spawner::spawn("fleche-sql", move || match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            IS_RUNTIME_THREAD.set(true);
            // The thread that started this one is waiting for the handle.
            let (handle, owed) = (runtime.handle().clone(), Arc::<PendingReplies>::default());
            let _listens = ReaderThreadGuard::begin(owed.clone());
            let _ = tell.send(Ok(Runtime { handle, owed, process: process::id() }));
            runtime.block_on(pending::<()>());
        }
        Err(error) => drop(tell.send(Err(error))),
    })?;
    hears.recv().unwrap_or_else(|_| Err(io::Error::other("the thread of the database driver ended")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn future_runs_with_and_without_a_runtime_of_the_caller() {
        assert_eq!(run(async { Ok(1) }).unwrap(), 1);
        let theirs = Builder::new_current_thread().build().unwrap();
        assert_eq!(theirs.block_on(async { run(async { Ok(2) }) }).unwrap(), 2);
    }

    #[test]
    fn panic_becomes_an_error_and_later_futures_run() {
        let error = run::<()>(async { panic!("tried") }).unwrap_err();
        assert_eq!(error.to_string(), "a panic in the database driver");
        assert_eq!(run(async { Ok(3) }).unwrap(), 3);
    }

    #[test]
    fn finish_waits_except_on_the_driver_thread() {
        let within = async {
            finish(async {});
            Ok(())
        };
        run(within).unwrap();
        let (tell, hears) = mpsc::channel();
        finish(async move { tell.send(()).unwrap() });
        hears.try_recv().unwrap();
    }
}
