//! Bounds the time of an operation on a database, and the pauses after which it is tried again.

use std::{
    fmt::Display,
    io,
    sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use fleche_core::{error::Report, job::blocking_hooks, spi::LockResultExt};

use crate::error::DbError;

/// The first and the longest pause between attempts. The databases do not notify when another process releases a lock.
const MIN_POLL: Duration = Duration::from_millis(1);
const MAX_POLL: Duration = Duration::from_millis(200);
/// The maximum timeout; clocks cannot represent longer ones.
const MAX_TIMEOUT: Duration = Duration::from_hours(24 * 365);
/// The number of sent bytes for which an operation gets one more second.
const BYTES_PER_SECOND: usize = 4 << 20;
/// The time after which the executor of a waiting thread is notified of the wait. Most waits end sooner.
pub(crate) const WAIT_NOTICE_DELAY: Duration = Duration::from_millis(2);
/// The longest wait of a thread without a look at its condition. A thread that wakes this often counts as one that
/// polls, not as one that is stuck.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// The timeout of the operations on one database, which all stores in it share.
pub(crate) struct Timeout(AtomicU64);

impl Timeout {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self(AtomicU64::new(millis(timeout)))
    }

    pub(crate) fn get(&self) -> Duration {
        Duration::from_millis(self.0.load(Relaxed))
    }

    /// Lowers the timeout of later operations, if it is longer than this.
    pub(crate) fn shorten(&self, timeout: Duration) {
        self.0.fetch_min(millis(timeout), Relaxed);
    }
}

fn millis(timeout: Duration) -> u64 {
    u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)
}

/// The deadline of an operation.
#[derive(Clone, Copy)]
pub(crate) struct Limit {
    /// The total time, for messages.
    time: Duration,
    pub(crate) until: Instant,
}

impl Limit {
    /// Creates the limit that begins now, for an operation that sends `bytes` bytes.
    pub(crate) fn new(timeout: Duration, bytes: usize) -> Self {
        let time = timeout.min(MAX_TIMEOUT) + Duration::from_secs((bytes / BYTES_PER_SECOND) as u64);
        Self { time, until: Instant::now() + time }
    }

    /// Returns the error of an operation that reached the limit.
    pub(crate) fn exceeded(self, why: impl Display) -> DbError {
        let why = format!("it took longer than the timeout of {:?}: {why}", self.time);
        DbError::Io(io::Error::new(io::ErrorKind::TimedOut, why))
    }

    /// Waits until the condition holds for the state behind this mutex, and returns the state.
    ///
    /// # Errors
    /// Fails with [`io::ErrorKind::TimedOut`] at the limit; `why` says what was awaited.
    pub(crate) fn wait_until<'a, T>(
        self,
        state: &'a Mutex<T>,
        changed: &Condvar,
        holds: impl Fn(&T) -> bool,
        why: &str,
    ) -> Result<MutexGuard<'a, T>, DbError> {
        let wait = |until: Instant| {
            let mut state = state.lock().ignore_poison();
            loop {
                if holds(&state) {
                    return Some(state);
                }
                let left = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
                state = changed.wait_timeout(state, left.min(MAX_WAIT)).ignore_poison().0;
            }
        };
        let mut waited = wait(self.until.min(Instant::now() + WAIT_NOTICE_DELAY));
        while waited.is_none() && Instant::now() < self.until {
            // When the wait ends, the executor may run code that needs the state. So it is released, and looked at again.
            blocking_hooks::blocking(|| drop(wait(self.until)));
            waited = wait(Instant::now());
        }
        waited.ok_or_else(|| self.exceeded(why))
    }
}

/// The attempts at one operation, each of which is atomic.
pub(crate) struct Attempts {
    limit: Limit,
    wait: Duration,
}

impl Attempts {
    pub(crate) fn new(limit: Limit) -> Self {
        Self { limit, wait: MIN_POLL }
    }

    /// Returns the pause after which the operation that failed with this error can be tried again.
    ///
    /// # Errors
    /// Fails with this error if another attempt cannot help, and with [`io::ErrorKind::TimedOut`] if no time is left.
    pub(crate) fn pause(&mut self, error: DbError) -> Result<Duration, DbError> {
        if !error.is_transient() {
            return Err(error);
        }
        let wait = self.wait;
        if Instant::now() + wait > self.limit.until {
            return Err(self.limit.exceeded(Report::new(&error)));
        }
        self.wait = (wait * 2).min(MAX_POLL);
        Ok(wait)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fleche_core::job::blocking_hooks::{Awaited, AwaitedJob, Pool, within};

    use super::*;

    /// A pool that ends each wait when it begins, and takes the first one's result away before its thread resumes.
    #[derive(Default)]
    struct Rival {
        is_ready: Mutex<bool>,
        /// Whether the state was released at each end of a wait.
        released: Mutex<Vec<bool>>,
    }

    impl Pool for Rival {
        fn run_or_prioritize(&self, _: AwaitedJob<'_>, _: bool) {}

        fn pause(&self, _: Option<Arc<dyn Awaited>>) {
            *self.is_ready.lock().unwrap() = true;
        }

        fn resume(&self) {
            let is_ready = self.is_ready.try_lock();
            let mut released = self.released.lock().unwrap();
            released.push(is_ready.is_ok());
            if let Ok(mut is_ready) = is_ready {
                *is_ready = released.len() > 1;
            }
        }
    }

    #[test]
    fn state_is_released_while_the_pool_resumes_and_looked_at_again() {
        let pool = Arc::new(Rival::default());
        within(pool.clone(), || {
            let limit = Limit::new(Duration::from_mins(1), 0);
            let waited = limit.wait_until(&pool.is_ready, &Condvar::new(), |is_ready| *is_ready, "it is not ready");
            assert!(*waited.unwrap());
        });
        assert_eq!(*pool.released.lock().unwrap(), [true, true]);
    }

    #[test]
    fn wait_ends_at_the_limit() {
        let state = Mutex::new(());
        let error = Limit::new(Duration::ZERO, 0).wait_until(&state, &Condvar::new(), |()| false, "why");
        assert!(error.unwrap_err().to_string().ends_with("0ns: why"));
    }
}
