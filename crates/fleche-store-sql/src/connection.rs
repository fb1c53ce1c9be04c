//! `Connections`: connecting to a file or a server, and executing statements.

use std::{
    future::Future,
    path::Path,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection as _, Sqlite, SqlitePool,
    pool::PoolOptions,
    postgres::PgConnectOptions,
    query, query_scalar,
    sqlite::{SqliteConnectOptions, SqliteSynchronous},
};
use tokio::sync::{Mutex, MutexGuard};
use url::Url;

use crate::{
    file_access::FileAccess,
    retry::{Attempts, Limit, is_lost},
    server::Server,
    statement::{Connection, Dialect, Row, Statement, Transaction},
};

/// The maximum number of connections of one process to one database.
const CONNECTIONS: u32 = 8;
/// A time longer than any operation takes, since `Connections` bounds each operation.
const MAX_TIMEOUT: Duration = Duration::from_hours(24 * 365);
/// The time that SQLite waits for a lock before it reports `SQLITE_BUSY` and the operation is retried.
const BUSY: Duration = Duration::from_millis(250);

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

    /// Returns the timeout of one operation.
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
        let _lock = self.lock_writer(limit).await?;
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
            Pool::Postgres(server) => Transaction::begin(server.acquire().await?).await,
        }
    }

    async fn lock_writer(&self, limit: Limit) -> sqlx::Result<Option<MutexGuard<'_, ()>>> {
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
        let _lock = self.lock_writer(limit).await?;
        let mut connection = self.connection(limit).await?;
        connection.fetch(&Statement::new("PRAGMA synchronous = FULL")).await?;
        let count = "UPDATE fleche_meta SET value = value + 1 WHERE name = 'syncs'";
        let counted = connection.fetch(&Statement::new(count)).await;
        if connection.fetch(&Statement::new("PRAGMA synchronous = NORMAL")).await.is_err() {
            connection.give_up();
        }
        counted.map(drop)
    }

    /// Tries the operation until it succeeds, fails permanently, or times out.
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
            Pool::Postgres(server) => Connection::Postgres(server.acquire().await?),
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

/// Connects to this file, which must exist. It gets a write-ahead log or, if `rollback` is set, a rollback journal, for
/// file systems on which not all processes can share the memory that a log needs.
pub(crate) async fn to_file(
    path: &Path,
    rollback: bool,
    access: FileAccess,
    timeout: Duration,
) -> sqlx::Result<Connections> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY)
        // In kibibytes: enough for insertions into the indices of a million records.
        .pragma("cache_size", "-16384")
        // Detects a damaged page when it is read.
        .pragma("cell_size_check", "ON")
        .thread_name(|number| format!("fleche-sqlite-{number}"))
        .disable_statement_logging();
    if access != FileAccess::Full {
        let options = options.read_only(true).immutable(access == FileAccess::ReadAsItIs);
        return Ok(Connections::to_file(pool().connect_lazy_with(options), rollback, timeout).read_only());
    }
    set_journal(&options, if rollback { "delete" } else { "wal" }, Limit::new(timeout, 0)).await?;
    let synchronous = if rollback { SqliteSynchronous::Extra } else { SqliteSynchronous::Normal };
    Ok(Connections::to_file(pool().connect_lazy_with(options.synchronous(synchronous)), rollback, timeout))
}

/// Sets the journal mode. It is a property of the file, so the first process that opens the file sets it.
async fn set_journal(options: &SqliteConnectOptions, wanted: &str, limit: Limit) -> sqlx::Result<()> {
    let mut attempts = Attempts::new(Dialect::Sqlite, limit);
    loop {
        match try_set_journal(options, wanted).await {
            Err(error) => attempts.again(error).await?,
            done => return done,
        }
    }
}

// Without settings that make SQLite read the file, this connection can be closed properly even if the file is damaged.
async fn try_set_journal(options: &SqliteConnectOptions, wanted: &str) -> sqlx::Result<()> {
    let mut connection = options.connect().await?;
    let done = async {
        let mode: String = query_scalar("PRAGMA journal_mode").fetch_one(&mut connection).await?;
        if mode != wanted {
            query(AssertSqlSafe(format!("PRAGMA journal_mode = {wanted}"))).execute(&mut connection).await?;
        }
        query("SELECT 1 FROM sqlite_master").execute(&mut connection).await?;
        Ok(())
    };
    let done = done.await;
    connection.close().await?;
    done
}

/// Connects to this server. The tables are in the schema that `options` selects, if any.
pub(crate) async fn to_server(options: PgConnectOptions, timeout: Duration) -> sqlx::Result<Connections> {
    let server = Server::new(options.disable_statement_logging(), CONNECTIONS);
    // Connecting once makes opening the store fail if the server cannot be reached.
    Limit::new(timeout, 0).bound(server.acquire()).await?.give_back();
    Ok(Connections::to_server(server, timeout))
}

/// Returns the connection options of a server from the URL and the environment.
pub(crate) fn server_options(url: &Url, schema: Option<&str>) -> sqlx::Result<PgConnectOptions> {
    let options = PgConnectOptions::from_str(url.as_str())?;
    let options = if options.get_application_name().is_none() { options.application_name("fleche") } else { options };
    Ok(match schema {
        None => options,
        Some(schema) => options.options([("search_path", schema)]),
    })
}

fn pool() -> PoolOptions<Sqlite> {
    // Connections to a file need no test before each use. `Connections` bounds the waits.
    PoolOptions::new().max_connections(CONNECTIONS).test_before_acquire(false).acquire_timeout(MAX_TIMEOUT)
}

fn millis(timeout: Duration) -> u64 {
    u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use fleche_core::{Error, Result};

    use super::*;
    use crate::{error::backend, runtime, schema, statement::Statement};

    /// Returns the file's journal mode and `synchronous` setting after a write and a sync.
    fn journal(path: &Path, rollback: bool) -> Result<(String, i64)> {
        let path = path.to_owned();
        runtime::run("the file", async move {
            let connections = to_file(&path, rollback, FileAccess::Full, Duration::from_mins(1))
                .await
                .map_err(backend("the file"))?;
            schema::prepare(&connections, None, "the file").await.map_err(|failed| failed.into_error("the file"))?;
            let work = async {
                connections.sync().await?;
                let journal = connections.read(&Statement::new("PRAGMA journal_mode")).await?[0].text(0)?;
                Ok((journal, connections.read(&Statement::new("PRAGMA synchronous")).await?[0].integer(0)?))
            };
            let found = work.await.map_err(backend("the file"));
            connections.close().await;
            found
        })
    }

    #[test]
    fn journal_mode_follows_the_file_system_not_the_previous_mode() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        std::fs::write(&path, b"").unwrap();
        for _ in 0..2 {
            assert_eq!(journal(&path, false).unwrap(), ("wal".to_owned(), 1));
            assert_eq!(journal(&path, true).unwrap(), ("delete".to_owned(), 3));
        }
    }

    #[test]
    fn missing_file_is_not_created() {
        let directory = tempfile::tempdir().unwrap();
        let error = journal(&directory.path().join("db"), false).unwrap_err();
        assert!(matches!(error, Error::Backend { .. }), "{error:?}");
    }
}
