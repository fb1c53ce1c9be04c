//! `Server`: the connections of this process to one PostgreSQL server.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use fleche_core::spi::LockResultExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{connection::Connection, options::ServerOptions};
use crate::error::DbError;

/// The idle time after which a connection is tested before use.
const STALE: Duration = Duration::from_secs(5);

/// The connections to a server, which are opened on demand.
pub(crate) struct Server {
    options: ServerOptions,
    idle: Mutex<Vec<Idle>>,
    permits: Arc<Semaphore>,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

/// A connection in use. If it is dropped without being returned to the pool, it is closed.
pub(crate) struct PooledConnection {
    pub(crate) connection: Connection,
    server: Arc<Server>,
    _permit: OwnedSemaphorePermit,
}

impl Server {
    /// Creates a pool of at most this many connections.
    pub(crate) fn new(options: ServerOptions, connections: usize) -> Arc<Self> {
        Arc::new(Self { options, idle: Mutex::default(), permits: Arc::new(Semaphore::new(connections)) })
    }

    /// Returns a connection once one is free.
    pub(crate) async fn acquire(self: &Arc<Self>) -> Result<PooledConnection, DbError> {
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| DbError::content("the store is closed"))?;
        let connection = match self.sound().await {
            Some(connection) => connection,
            None => Connection::open(&self.options).await?,
        };
        Ok(PooledConnection { connection, server: self.clone(), _permit: permit })
    }

    /// Returns an idle connection that presumably works, if there is one.
    async fn sound(&self) -> Option<Connection> {
        loop {
            let Idle { connection, since } = self.idle().pop()?;
            if since.elapsed() < STALE || connection.is_alive().await {
                return Some(connection);
            }
        }
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
            connection.close().await;
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
