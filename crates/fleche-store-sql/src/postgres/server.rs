//! `Server`: the connections of this process to one PostgreSQL server.

use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use fleche_core::spi::LockResultExt;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, postgres::PgConnectOptions, raw_sql};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The idle time after which a connection is tested before use.
const STALE: Duration = Duration::from_secs(5);
/// The statement, executed on each connection, that makes the server abort statements that run longer, since the client
/// may be gone.
const LIMIT: &str = "SET statement_timeout = '5min'";

/// The connections to a server, which are opened on demand.
pub(crate) struct Server {
    options: PgConnectOptions,
    idle: Mutex<Vec<Idle>>,
    permits: Arc<Semaphore>,
}

struct Idle {
    connection: PgConnection,
    since: Instant,
}

/// A connection in use. If it is dropped without being returned to the pool, it is closed without notice to the server,
/// which may not answer, and a transaction on it is rolled back.
pub(crate) struct PooledConnection {
    connection: PgConnection,
    server: Arc<Server>,
    _permit: OwnedSemaphorePermit,
}

impl Server {
    /// Creates a pool of at most this many connections.
    pub(crate) fn new(options: PgConnectOptions, connections: u32) -> Arc<Self> {
        Arc::new(Self { options, idle: Mutex::default(), permits: Arc::new(Semaphore::new(connections as usize)) })
    }

    /// Returns a connection once one is free.
    pub(crate) async fn acquire(self: &Arc<Self>) -> sqlx::Result<PooledConnection> {
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| sqlx::Error::PoolClosed)?;
        let connection = match self.sound().await {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        Ok(PooledConnection { connection, server: self.clone(), _permit: permit })
    }

    /// Returns an idle connection that presumably works, if there is one.
    async fn sound(&self) -> Option<PgConnection> {
        loop {
            let Idle { mut connection, since } = self.idle().pop()?;
            if since.elapsed() < STALE || connection.ping().await.is_ok() {
                return Some(connection);
            }
        }
    }

    async fn connect(&self) -> sqlx::Result<PgConnection> {
        let mut connection = self.options.connect().await?;
        raw_sql(LIMIT).execute(&mut connection).await?;
        Ok(connection)
    }

    /// Drops the idle connections after one was lost: the others were probably lost with it.
    pub(crate) fn forget_idle(&self) {
        let idle = std::mem::take(&mut *self.idle());
        drop(idle);
    }

    /// Closes the idle connections, and prevents new ones.
    pub(crate) async fn close(&self) {
        self.permits.close();
        let idle = std::mem::take(&mut *self.idle());
        for Idle { connection, .. } in idle {
            // It is closed either way.
            let _ = connection.close().await;
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().ignore_poison()
    }
}

impl PooledConnection {
    /// Returns the connection after its operation has ended.
    pub(crate) fn give_back(self) {
        let Self { connection, server, _permit } = self;
        if !server.permits.is_closed() {
            server.idle().push(Idle { connection, since: Instant::now() });
        }
    }
}

impl Deref for PooledConnection {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for PooledConnection {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}
