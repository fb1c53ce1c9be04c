//! `Client`: operations on a PostgreSQL server, for any thread.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::time::{sleep, timeout_at};

use super::{options::ServerOptions, runtime, server::Server};
use crate::{
    error::DbError,
    limit::{Attempts, Limit, Timeout},
    row::Row,
    statement::Statement,
};

/// The maximum number of connections of one process to one server.
const CONNECTIONS: usize = 8;

/// The connections to a server. If they do not answer, an operation and its connection are abandoned.
pub(crate) struct Client {
    server: Arc<Server>,
    pub(crate) timeout: Timeout,
}

impl Client {
    /// Connects to this server. The tables are in the schema that `options` selects, if any.
    pub(crate) fn connect(options: ServerOptions, timeout: Duration) -> Result<Self, DbError> {
        let server = Server::new(options, CONNECTIONS);
        let (limit, first) = (Limit::new(timeout, 0), server.clone());
        // Connecting once makes opening the store fail if the server cannot be reached.
        runtime::run(bounded(limit, async move {
            first.acquire().await?.give_back();
            Ok(())
        }))?;
        Ok(Self { server, timeout: Timeout::new(timeout) })
    }

    /// Runs a statement that changes nothing, and returns what the function makes of its rows.
    pub(crate) fn read<T>(
        &self,
        statement: &Statement<'_>,
        map: impl FnMut(Row<'_>) -> Result<T, DbError>,
    ) -> Result<Vec<T>, DbError> {
        let statement = Arc::new(statement.to_static());
        let rows = self.run(0, move |server| {
            let statement = statement.clone();
            async move {
                let mut pooled = server.acquire().await?;
                let rows = pooled.connection.fetch(&statement).await?;
                pooled.give_back();
                Ok(rows)
            }
        })?;
        rows.iter().map(Row::Postgres).map(map).collect()
    }

    /// Runs the statements in one transaction. Returns the numbers in the first column of the rows of the last one.
    pub(crate) fn write(&self, statements: &[Statement<'_>]) -> Result<Vec<i64>, DbError> {
        let bytes = statements.iter().map(Statement::bytes_sent).sum();
        let statements: Arc<[_]> = statements.iter().map(Statement::to_static).collect();
        let rows = self.run(bytes, move |server| {
            let statements = statements.clone();
            async move {
                let mut pooled = server.acquire().await?;
                let rows = match &*statements {
                    [statement] => pooled.connection.fetch(statement).await?,
                    statements => pooled.connection.transact(statements).await?,
                };
                pooled.give_back();
                Ok(rows)
            }
        })?;
        rows.iter().map(|row| Row::Postgres(row).integer(0)).collect()
    }

    /// Tries the operation until it succeeds, fails permanently, or times out.
    fn run<T: Send + 'static, F>(
        &self,
        bytes_sent: usize,
        attempt: impl Fn(Arc<Server>) -> F + Send + 'static,
    ) -> Result<T, DbError>
    where
        F: Future<Output = Result<T, DbError>> + Send + 'static,
    {
        let (server, limit) = (self.server.clone(), Limit::new(self.timeout.get(), bytes_sent));
        let mut attempts = Attempts::new(limit);
        runtime::run(bounded(limit, async move {
            loop {
                match attempt(server.clone()).await {
                    Err(error) => {
                        if error.is_lost() {
                            server.forget_idle();
                        }
                        sleep(attempts.pause(error)?).await;
                    }
                    done => return done,
                }
            }
        }))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Connections that are not closed by then are dropped.
        let (server, limit) = (self.server.clone(), Limit::new(self.timeout.get(), 0));
        runtime::finish(async move {
            let _ = timeout_at(limit.until.into(), server.close()).await;
        });
    }
}

/// Awaits the future until the limit, and drops it then.
async fn bounded<T>(limit: Limit, future: impl Future<Output = Result<T, DbError>>) -> Result<T, DbError> {
    timeout_at(limit.until.into(), future).await.unwrap_or_else(|_| Err(limit.exceeded("there was no answer")))
}
