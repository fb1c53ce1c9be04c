//! Ctrl-C handling: tasks that have not started are cancelled, and running tasks finish.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, Weak},
};

use fleche_core::{
    Error, Result,
    spi::{LockResultExt, ReaderThreadGuard, catch_panic, fork, thread_spawner},
    store::ensure_not_forked,
};
use signal_hook::{consts::SIGINT, iterator::Signals, low_level::emulate_default_handler};

/// A pool whose queued tasks can be cancelled.
pub(crate) trait Cancel: Send + Sync {
    /// Cancels the tasks that have not started, and returns their number.
    fn cancel(self: Arc<Self>) -> usize;
}

static STATE: Mutex<State> = Mutex::new(State { pools: Vec::new(), listening: false });

struct State {
    /// The pools of this process.
    pools: Vec<Weak<dyn Cancel>>,
    listening: bool,
}

fn lock() -> MutexGuard<'static, State> {
    STATE.lock().ignore_poison()
}

/// Registers a pool: after [`cancel_on_ctrl_c`], Ctrl-C cancels its queued tasks.
pub(crate) fn register(pool: Weak<dyn Cancel>) {
    // Another thread of the parent may have held the lock when this process was forked.
    if fork::is_child() {
        return;
    }
    let mut state = lock();
    state.pools.retain(|pool| pool.strong_count() > 0);
    state.pools.push(pool);
}

/// Makes Ctrl-C (`SIGINT`) cancel queued tasks instead of ending the program.
///
/// This applies to all thread pools and process pools of this process. Jobs whose body has not started end as
/// [`JobError::Cancelled`](fleche_core::JobError::Cancelled). Running bodies finish, and their results are recorded.
/// The program continues and handles the cancelled jobs. A second Ctrl-C ends the program, as it would without this
/// function.
///
/// Call it once, early in `main`, after [`init`](crate::init); further calls do nothing. Worker processes do not
/// receive the terminal's Ctrl-C. A task on its way to a worker process may start before it can be cancelled.
///
/// ```no_run
/// use fleche_core::{ExecutorExt, JobError};
/// use fleche_exec::ThreadPool;
///
/// fn long(x: u64) -> u64 { x }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     fleche_exec::cancel_on_ctrl_c()?;
///     let pool = ThreadPool::new(4)?;
///     for result in pool.map(long, (0..1000).map(|x| (x,))) {
///         match result {
///             Ok(result) => println!("{result}"),
///             Err(JobError::Cancelled) => break,
///             Err(error) => return Err(error.into()),
///         }
///     }
///     Ok(()) // Dropping the pool waits for running tasks.
/// }
/// ```
///
/// # Errors
/// Fails with [`Error::Io`] if the signal handler or the thread that waits for signals cannot be set up, and with
/// [`Error::Forked`] in a forked child.
pub fn cancel_on_ctrl_c() -> Result<()> {
    ensure_not_forked(|| "Ctrl-C")?;
    let mut state = lock();
    if state.listening {
        return Ok(());
    }
    let mut signals = Signals::new([SIGINT]).map_err(Error::io("listen for", "Ctrl-C"))?;
    let listen = move || {
        let _listens = ReaderThreadGuard::begin(Arc::default());
        for (before, signal) in signals.forever().enumerate() {
            if before > 0 {
                // The second Ctrl-C must end the program at any time.
                let _ = emulate_default_handler(signal);
            }
            // This thread stays free for the next signal: callbacks of cancelled jobs may take a long time.
            if thread_spawner::spawn(THREAD, cancel_and_say).is_err() {
                cancel_and_say();
            }
        }
    };
    thread_spawner::spawn(THREAD, listen).map_err(Error::io("start a thread for", "Ctrl-C"))?;
    state.listening = true;
    Ok(())
}

const THREAD: &str = "fleche-ctrl-c";

fn cancel_and_say() {
    let cancelled = cancel();
    fleche_core::spi::log::warn!(
        cancelled,
        "interrupted: tasks that had not started were cancelled, running tasks will finish; press Ctrl-C again to end the program"
    );
}

/// Cancels the tasks of all pools that have not started, and returns their number.
fn cancel() -> usize {
    let pools = mem::take(&mut lock().pools);
    // Outside the lock: this runs callbacks of jobs, which may create pools.
    let one = |pool: Arc<dyn Cancel>| {
        catch_panic(|| pool.cancel()).unwrap_or_else(|panic| {
            fleche_core::spi::log::error!(%panic, "panicked while the tasks of a pool were cancelled");
            0
        })
    };
    let count = pools.iter().filter_map(Weak::upgrade).map(one).sum();
    lock().pools.extend(pools);
    count
}
