//! `Connections`: the connections to one database, and the execution of statements on them.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use sqlx::SqlitePool;
use tokio::sync::{Mutex, MutexGuard};

use crate::{
    dialect::Dialect,
    retry::{Attempts, Limit, is_lost},
    server::Server,
    statement::{Connection, Row, Statement, Transaction},
};

/// The connections to a database. Clones share them.
#[derive(Clone)]
pub(crate) struct Connections {
    pool: Pool,
    /// The queue of this process's writers to a SQLite file, which SQLite itself would admit in random order.
    writer: Arc<Mutex<()>>,
    /// Whether a commit is on disk when it returns, as far as the database can tell.
    commits_are_durable: bool,
    is_read_only: bool,
    /// The timeout of operations, in milliseconds.
    timeout: Arc<AtomicU64>,
}

#[derive(Clone)]
enum Pool {
    Sqlite(SqlitePool),
    Postgres(Arc<Server>),
}

impl Connections {
    pub(crate) fn to_file(pool: SqlitePool, commits_are_durable: bool, timeout: Duration) -> Self {
        Self::new(Pool::Sqlite(pool), commits_are_durable, timeout)
    }

    pub(crate) fn to_server(server: Arc<Server>, timeout: Duration) -> Self {
        Self::new(Pool::Postgres(server), true, timeout)
    }

    fn new(pool: Pool, commits_are_durable: bool, timeout: Duration) -> Self {
        let timeout = Arc::new(AtomicU64::new(millis(timeout)));
        Self { pool, writer: Arc::default(), commits_are_durable, is_read_only: false, timeout }
    }

    /// Marks the file as read-only.
    pub(crate) fn read_only(self) -> Self {
        Self { is_read_only: true, ..self }
    }

    /// Returns whether this is a file that can only be read.
    pub(crate) fn is_read_only(&self) -> bool {
        self.is_read_only
    }

    /// Returns how long one operation may take.
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout.load(Relaxed))
    }

    /// Lowers the timeout of later operations, if it is longer than this.
    pub(crate) fn shorten_timeout(&self, timeout: Duration) {
        self.timeout.fetch_min(millis(timeout), Relaxed);
    }

    pub(crate) fn dialect(&self) -> Dialect {
        match &self.pool {
            Pool::Sqlite(_) => Dialect::Sqlite,
            Pool::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Runs a statement that changes nothing, and returns its rows.
    pub(crate) async fn read(&self, statement: &Statement) -> sqlx::Result<Vec<Row>> {
        self.try_in_time(0, |limit| self.try_read(statement, limit)).await
    }

    async fn try_read(&self, statement: &Statement, limit: Limit) -> sqlx::Result<Vec<Row>> {
        let mut connection = self.connection(limit).await?;
        let rows = connection.fetch(statement).await?;
        connection.give_back();
        Ok(rows)
    }

    /// Runs the statements in one transaction, and returns the rows of each.
    pub(crate) async fn write(&self, statements: &[Statement]) -> sqlx::Result<Vec<Vec<Row>>> {
        let bytes = statements.iter().map(Statement::bytes_sent).sum();
        self.try_in_time(bytes, |limit| self.try_write(statements, limit)).await
    }

    async fn try_write(&self, statements: &[Statement], limit: Limit) -> sqlx::Result<Vec<Vec<Row>>> {
        let _turn = self.turn(limit).await?;
        if let [statement] = statements {
            let mut connection = self.connection(limit).await?;
            let rows = connection.fetch(statement).await?;
            connection.give_back();
            return Ok(vec![rows]);
        }
        let mut transaction = self.begin(limit).await?;
        let mut rows = Vec::with_capacity(statements.len());
        for statement in statements {
            rows.push(transaction.fetch(statement).await?);
        }
        transaction.commit().await?;
        Ok(rows)
    }

    async fn begin(&self, limit: Limit) -> sqlx::Result<Transaction> {
        match &self.pool {
            // Takes the write lock before the first read. Taking it later would fail if another connection has written
            // since.
            Pool::Sqlite(pool) => Ok(Transaction::Sqlite(limit.bound(pool.begin_with("BEGIN IMMEDIATE")).await?)),
            Pool::Postgres(server) => Transaction::begin(server.lend().await?).await,
        }
    }

    async fn turn(&self, limit: Limit) -> sqlx::Result<Option<MutexGuard<'_, ()>>> {
        match self.dialect() {
            Dialect::Sqlite => limit.bound(async { Ok(Some(self.writer.lock().await)) }).await,
            Dialect::Postgres => Ok(None),
        }
    }

    /// Returns once all earlier writes are on disk, as far as the database can tell.
    pub(crate) async fn sync(&self) -> sqlx::Result<()> {
        if self.commits_are_durable {
            return Ok(());
        }
        self.try_in_time(0, |limit| self.try_sync(limit)).await
    }

    // A commit that waits for the disk also makes all earlier commits in the log durable.
    async fn try_sync(&self, limit: Limit) -> sqlx::Result<()> {
        let _turn = self.turn(limit).await?;
        let mut connection = self.connection(limit).await?;
        connection.fetch(&Statement::new("PRAGMA synchronous = FULL")).await?;
        let count = "UPDATE fleche_meta SET value = value + 1 WHERE name = 'syncs'";
        let counted = connection.fetch(&Statement::new(count)).await;
        if connection.fetch(&Statement::new("PRAGMA synchronous = NORMAL")).await.is_err() {
            connection.give_up();
        }
        counted.map(drop)
    }

    /// Tries the operation until it succeeds, fails for good, or its time is over.
    ///
    /// If a server does not answer, the operation and its connection are abandoned. Waits in SQLite end soon by
    /// themselves.
    async fn try_in_time<T, F>(&self, bytes_sent: usize, attempt: impl Fn(Limit) -> F) -> sqlx::Result<T>
    where
        F: Future<Output = sqlx::Result<T>>,
    {
        let limit = Limit::new(self.timeout(), bytes_sent);
        let mut attempts = Attempts::new(self.dialect(), limit);
        let tried = async {
            loop {
                match attempt(limit).await {
                    Err(error) => {
                        self.note(&error);
                        attempts.again(error).await?;
                    }
                    done => return done,
                }
            }
        };
        match &self.pool {
            Pool::Sqlite(_) => tried.await,
            Pool::Postgres(_) => limit.bound(tried).await,
        }
    }

    fn note(&self, error: &sqlx::Error) {
        if let Pool::Postgres(server) = &self.pool
            && is_lost(error)
        {
            server.forget_idle();
        }
    }

    /// Returns a connection of the pool once one is free.
    async fn connection(&self, limit: Limit) -> sqlx::Result<Connection> {
        Ok(match &self.pool {
            Pool::Sqlite(pool) => Connection::Sqlite(limit.bound(pool.acquire()).await?),
            Pool::Postgres(server) => Connection::Postgres(server.lend().await?),
        })
    }

    /// Closes the connections once no operation uses them. The last connection to a SQLite file that closes removes its
    /// log.
    pub(crate) async fn close(self) {
        match &self.pool {
            Pool::Sqlite(pool) => pool.close().await,
            // Connections that are not closed by then are dropped.
            Pool::Postgres(server) => {
                let limit = Limit::new(self.timeout(), 0);
                let _ = limit
                    .bound(async {
                        server.close().await;
                        Ok(())
                    })
                    .await;
            }
        }
    }
}

fn millis(timeout: Duration) -> u64 {
    u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)
}
