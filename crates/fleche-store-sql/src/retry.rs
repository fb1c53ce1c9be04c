//! What is tried again: what a database refuses because others are at work, or because a connection was lost.

use std::time::{Duration, Instant};

use crate::dialect::Dialect;

/// After so long an error is told. SQLite itself waits within each attempt.
const PATIENCE: Duration = Duration::from_mins(1);
/// Between attempts, at first and at last. Nobody tells when a lock of another process is free.
const OFTEN: Duration = Duration::from_millis(1);
const SELDOM: Duration = Duration::from_millis(200);

/// The attempts at one operation, each of which changes all or nothing.
pub(crate) struct Attempts {
    dialect: Dialect,
    begun: Instant,
    wait: Duration,
}

impl Attempts {
    pub(crate) fn of(dialect: Dialect) -> Self {
        Self { dialect, begun: Instant::now(), wait: OFTEN }
    }

    /// Returns when it is time to try again what ended with this error.
    ///
    /// # Errors
    /// This one, if trying again is no use, or no more.
    pub(crate) async fn again(&mut self, error: sqlx::Error) -> sqlx::Result<()> {
        if !is_passing(self.dialect, &error) || self.begun.elapsed() > PATIENCE {
            return Err(error);
        }
        tokio::time::sleep(self.wait).await;
        self.wait = (self.wait * 2).min(SELDOM);
        Ok(())
    }
}

fn is_passing(dialect: Dialect, error: &sqlx::Error) -> bool {
    let Some(code) = error.as_database_error().and_then(sqlx::error::DatabaseError::code) else {
        // A connection that was kept, whose server has gone and may be back. Where there is no server at all, waiting is
        // no use: whoever asks goes on without the store.
        return dialect == Dialect::Postgres
            && matches!(error, sqlx::Error::Io(error) if error.kind() != std::io::ErrorKind::ConnectionRefused);
    };
    match dialect {
        // SQLITE_BUSY and SQLITE_LOCKED, whatever the reason: the lowest byte of an extended code.
        Dialect::Sqlite => code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 5 | 6)),
        // Serialisation failure, deadlock; a server that is shutting down or starting: appendix A of its manual.
        Dialect::Postgres => matches!(&*code, "40001" | "40P01" | "57P01" | "57P02" | "57P03"),
    }
}
