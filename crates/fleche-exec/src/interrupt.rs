//! Ctrl-C: what has not started is cancelled, and what runs ends.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use fleche_core::{Error, Result, claim::ListensHere, error::ensure_not_forked, fork, job, starter};
use signal_hook::{consts::SIGINT, iterator::Signals, low_level::emulate_default_handler};

/// What holds tasks that have not started.
pub(crate) trait Cancel: Send + Sync {
    /// Cancels them: how many.
    fn cancel(self: Arc<Self>) -> usize;
}

static STATE: Mutex<State> = Mutex::new(State { pools: Vec::new(), listening: false });

struct State {
    /// The pools of this process.
    pools: Vec<Weak<dyn Cancel>>,
    listening: bool,
}

fn lock() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has a pool's tasks cancelled on Ctrl-C, if anything is.
pub(crate) fn register(pool: Weak<dyn Cancel>) {
    // Another thread of the parent may have held the lock when this process was forked.
    if fork::is_child() {
        return;
    }
    let mut state = lock();
    state.pools.retain(|pool| pool.strong_count() > 0);
    state.pools.push(pool);
}

/// Lets Ctrl-C (`SIGINT`) cancel what has not started, in all thread and process pools of this process, instead of ending the
/// program: those jobs end as [`JobError::Cancelled`](fleche_core::JobError::Cancelled), bodies that run go on to their end
/// and are recorded, and the program goes on as it does about a cancelled job. A second Ctrl-C ends the program, as it would
/// have without this.
///
/// To be called once, early in `main`, after [`init`](crate::init); a repetition does nothing. Worker processes do not get
/// the terminal's Ctrl-C. What is on its way to a worker process may start before it can be cancelled.
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
///     Ok(()) // Dropping the pool waits for what runs.
/// }
/// ```
///
/// # Errors
/// [`Error::Io`] where the system does not let signals be heard, or starts no thread for it.
pub fn cancel_on_ctrl_c() -> Result<()> {
    ensure_not_forked(|| "Ctrl-C")?;
    let mut state = lock();
    if state.listening {
        return Ok(());
    }
    let mut signals = Signals::new([SIGINT]).map_err(Error::io("listen for", "Ctrl-C"))?;
    let listen = move || {
        let _listens = ListensHere::begin(Arc::default());
        for (before, signal) in signals.forever().enumerate() {
            if before > 0 {
                // The program is to end, whatever it does.
                let _ = emulate_default_handler(signal);
            }
            // This thread stays free to hear the next one: what hears of cancelled jobs may take long.
            if starter::spawn(THREAD, cancel_and_say).is_err() {
                cancel_and_say();
            }
        }
    };
    starter::spawn(THREAD, listen).map_err(Error::io("start a thread for", "Ctrl-C"))?;
    state.listening = true;
    Ok(())
}

const THREAD: &str = "fleche-ctrl-c";

fn cancel_and_say() {
    let cancelled = cancel();
    fleche_core::log::warn!(
        cancelled,
        "interrupted: what has not started is cancelled, and what runs ends; once more ends it all"
    );
}

/// Cancels what has not started, in all pools: how many tasks.
fn cancel() -> usize {
    let pools = mem::take(&mut lock().pools);
    // Outside the lock, since this runs code of others, which may make pools.
    let one = |pool: Arc<dyn Cancel>| {
        job::catch(|| pool.cancel()).unwrap_or_else(|panic| {
            fleche_core::log::error!(%panic, "a panic while a pool's tasks were cancelled");
            0
        })
    };
    let count = pools.iter().filter_map(Weak::upgrade).map(one).sum();
    lock().pools.extend(pools);
    count
}
