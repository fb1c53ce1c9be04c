//! `Link`: the pool of connections to one database, and how statements go through it.

use std::sync::Arc;

use sqlx::{PgPool, SqlitePool};
use tokio::sync::Mutex;

use crate::{
    dialect::Dialect,
    retry::Attempts,
    statement::{Connection, Row, Statement, Transaction},
};

/// The connections to a database. Clones share them.
#[derive(Clone)]
pub(crate) struct Link {
    pool: Pool,
    /// Who writes to a file of SQLite, of this process: these wait in line here, where SQLite would let chance decide.
    writer: Arc<Mutex<()>>,
    /// Whether a commit is on disk when it returns, as far as the database can tell.
    commits_are_durable: bool,
}

#[derive(Clone)]
enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Link {
    pub(crate) fn to_file(pool: SqlitePool, commits_are_durable: bool) -> Self {
        Self { pool: Pool::Sqlite(pool), writer: Arc::default(), commits_are_durable }
    }

    pub(crate) fn to_server(pool: PgPool) -> Self {
        Self { pool: Pool::Postgres(pool), writer: Arc::default(), commits_are_durable: true }
    }

    pub(crate) fn dialect(&self) -> Dialect {
        match &self.pool {
            Pool::Sqlite(_) => Dialect::Sqlite,
            Pool::Postgres(_) => Dialect::Postgres,
        }
    }

    /// The rows that the statement, which changes nothing, gives.
    pub(crate) async fn read(&self, statement: &Statement) -> sqlx::Result<Vec<Row>> {
        let mut attempts = Attempts::of(self.dialect());
        loop {
            match self.try_read(statement).await {
                Err(error) => attempts.again(error).await?,
                rows => return rows,
            }
        }
    }

    async fn try_read(&self, statement: &Statement) -> sqlx::Result<Vec<Row>> {
        self.connection().await?.fetch(statement).await
    }

    /// Runs the statements as one: all of them take effect, or none. The rows that each gives.
    pub(crate) async fn write(&self, statements: &[Statement]) -> sqlx::Result<Vec<Vec<Row>>> {
        let mut attempts = Attempts::of(self.dialect());
        loop {
            match self.try_write(statements).await {
                Err(error) => attempts.again(error).await?,
                rows => return rows,
            }
        }
    }

    async fn try_write(&self, statements: &[Statement]) -> sqlx::Result<Vec<Vec<Row>>> {
        let _turn = self.turn().await;
        if let [statement] = statements {
            return Ok(vec![self.connection().await?.fetch(statement).await?]);
        }
        let mut transaction = self.begin().await?;
        let mut rows = Vec::with_capacity(statements.len());
        for statement in statements {
            rows.push(transaction.fetch(statement).await?);
        }
        transaction.commit().await?;
        Ok(rows)
    }

    async fn begin(&self) -> sqlx::Result<Transaction> {
        Ok(match &self.pool {
            // Waits for its turn before anything was read: later it would have been in vain.
            Pool::Sqlite(pool) => Transaction::Sqlite(pool.begin_with("BEGIN IMMEDIATE").await?),
            Pool::Postgres(pool) => Transaction::Postgres(pool.begin().await?),
        })
    }

    async fn turn(&self) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        match self.dialect() {
            Dialect::Sqlite => Some(self.writer.lock().await),
            Dialect::Postgres => None,
        }
    }

    /// Returns when everything that was written before is on disk, as far as the database can tell.
    pub(crate) async fn sync(&self) -> sqlx::Result<()> {
        if self.commits_are_durable {
            return Ok(());
        }
        let mut attempts = Attempts::of(self.dialect());
        loop {
            match self.try_sync().await {
                Err(error) => attempts.again(error).await?,
                done => return done,
            }
        }
    }

    // A commit that waits for the disk carries with it all that stand before it in the log.
    async fn try_sync(&self) -> sqlx::Result<()> {
        let _turn = self.turn().await;
        let mut connection = self.connection().await?;
        connection.fetch(&Statement::new("PRAGMA synchronous = FULL")).await?;
        let count = "UPDATE fleche_meta SET value = value + 1 WHERE name = 'syncs'";
        let counted = connection.fetch(&Statement::new(count)).await;
        if connection.fetch(&Statement::new("PRAGMA synchronous = NORMAL")).await.is_err() {
            connection.give_up();
        }
        counted.map(drop)
    }

    /// A connection, which waits for its turn among the others of the pool.
    async fn connection(&self) -> sqlx::Result<Connection> {
        Ok(match &self.pool {
            Pool::Sqlite(pool) => Connection::Sqlite(pool.acquire().await?),
            Pool::Postgres(pool) => Connection::Postgres(pool.acquire().await?),
        })
    }

    /// Closes the connections, once nobody uses them. The last to close a file of SQLite leaves it whole in one file.
    pub(crate) async fn close(self) {
        match self.pool {
            Pool::Sqlite(pool) => pool.close().await,
            Pool::Postgres(pool) => pool.close().await,
        }
    }
}
