//! Bounds the time of an operation on a database, and retries it until then if the database is locked or a connection
//! was lost.

use std::{future::Future, io, time::Duration};

use tokio::time::{Instant, sleep, timeout_at};

use crate::statement::Dialect;

/// The first and the longest pause between attempts. The databases do not notify when another process releases a lock.
const MIN_POLL: Duration = Duration::from_millis(1);
const MAX_POLL: Duration = Duration::from_millis(200);
/// The maximum timeout; clocks cannot represent longer ones.
const MAX_TIMEOUT: Duration = Duration::from_hours(24 * 365);
/// The number of sent bytes for which an operation gets one more second.
const BYTES_PER_SECOND: usize = 4 << 20;

/// The attempts at one operation, each of which is atomic.
pub(crate) struct Attempts {
    dialect: Dialect,
    limit: Limit,
    wait: Duration,
}

/// The deadline of an operation.
#[derive(Clone, Copy)]
pub(crate) struct Limit {
    /// The total time, for messages.
    time: Duration,
    until: Instant,
}

impl Limit {
    /// Creates the limit that begins now, for an operation that sends `bytes` bytes.
    pub(crate) fn new(timeout: Duration, bytes: usize) -> Self {
        let time = timeout.min(MAX_TIMEOUT) + Duration::from_secs((bytes / BYTES_PER_SECOND) as u64);
        Self { time, until: Instant::now() + time }
    }

    /// Awaits the future until the limit, and drops it then.
    ///
    /// # Errors
    /// Fails with the error of the future, or with [`io::ErrorKind::TimedOut`].
    pub(crate) async fn bound<T>(self, future: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
        timeout_at(self.until, future).await.unwrap_or_else(|_| Err(self.exceeded("there was no answer")))
    }

    fn exceeded(self, why: impl std::fmt::Display) -> sqlx::Error {
        let why = format!("it took longer than the timeout of {:?}: {why}", self.time);
        sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, why))
    }
}

impl Attempts {
    pub(crate) fn new(dialect: Dialect, limit: Limit) -> Self {
        Self { dialect, limit, wait: MIN_POLL }
    }

    /// Waits until the operation that failed with this error can be retried.
    ///
    /// # Errors
    /// Fails with this error if a retry cannot help, and with [`io::ErrorKind::TimedOut`] if no time is left.
    pub(crate) async fn again(&mut self, error: sqlx::Error) -> sqlx::Result<()> {
        if !is_passing(self.dialect, &error) {
            return Err(error);
        }
        let next = Instant::now() + self.wait;
        if next > self.limit.until {
            return Err(self.limit.exceeded(error));
        }
        sleep(self.wait).await;
        self.wait = (self.wait * 2).min(MAX_POLL);
        Ok(())
    }
}

/// Returns whether the error means that the connection was lost.
pub(crate) fn is_lost(error: &sqlx::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
    let kinds = [BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof];
    // A server that shuts down reports this before it closes the connection.
    let shuts_down = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    matches!(error, sqlx::Error::Io(error) if kinds.contains(&error.kind()))
        || shuts_down.is_some_and(|code| matches!(&*code, "57P01" | "57P02"))
}

fn is_passing(dialect: Dialect, error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    match (dialect, code) {
        // SQLITE_BUSY and SQLITE_LOCKED: the lowest byte of an extended code.
        (Dialect::Sqlite, Some(code)) => code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 5 | 6)),
        (Dialect::Sqlite, None) => false,
        // Serialization failure, deadlock, and a server that is shutting down or starting: appendix A of PostgreSQL's
        // manual.
        (Dialect::Postgres, Some(code)) => matches!(&*code, "40001" | "40P01" | "57P01" | "57P02" | "57P03"),
        // The server may have restarted since the connection was opened. If there is no server at all, waiting does not
        // help: the caller proceeds without the store.
        (Dialect::Postgres, None) => is_lost(error),
    }
}
