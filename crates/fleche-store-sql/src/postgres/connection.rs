//! `Connection`: one connection to a PostgreSQL server, with its prepared statements.

use std::{collections::HashMap, error::Error as StdError};

use bytes::BytesMut;
use futures_util::future::{join_all, join3};
use tokio::task::JoinHandle;
use tokio_postgres::{
    Client, Error, Row, Statement as Prepared,
    types::{IsNull, ToSql, Type, to_sql_checked},
};

use super::options::ServerOptions;
use crate::statement::{Parameter, Statement};

/// The maximum number of prepared statements of a connection.
const STATEMENTS: usize = 128;
/// The maximum number of statements of a transaction that are sent before the first result has arrived. `join_all` polls
/// more than 30 futures in several turns, so `COMMIT` would be sent between them.
const PIPELINED: usize = 16;
/// The statement, executed on each connection, that makes the server abort statements that run longer, since the client
/// may be gone.
const LIMIT: &str = "SET statement_timeout = '5min'";

/// A connection. If it is dropped, it is closed without notice to the server, which may not answer, and a transaction on
/// it is rolled back.
pub(crate) struct Connection {
    client: Client,
    statements: HashMap<String, Cached>,
    /// The number of uses of prepared statements.
    uses: u64,
    socket: Socket,
}

/// A prepared statement, and the number of its last use.
struct Cached {
    prepared: Prepared,
    last_use: u64,
}

/// The task that reads and writes the socket.
struct Socket(JoinHandle<()>);

impl Drop for Socket {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    pub(crate) async fn open(options: &ServerOptions) -> Result<Self, Error> {
        #[allow(clippy::clone_on_copy)] // With the feature `tls`, the type is not `Copy`.
        let (client, socket) = options.config.connect(options.tls.clone()).await?;
        // The operations on the connection fail with the errors of the socket.
        let socket = Socket(tokio::spawn(async move { drop(socket.await) }));
        client.batch_execute(LIMIT).await?;
        Ok(Self { client, statements: HashMap::new(), uses: 0, socket })
    }

    /// Closes the connection. Returns once the server has been told.
    pub(crate) async fn close(self) {
        let Self { client, statements, mut socket, .. } = self;
        drop((statements, client));
        // It is closed either way.
        let _ = (&mut socket.0).await;
    }

    /// Returns whether the server answers.
    pub(crate) async fn is_alive(&self) -> bool {
        self.client.check_connection().await.is_ok()
    }

    /// Runs the statement to its end, and returns its rows.
    pub(crate) async fn fetch(&mut self, statement: &Statement<'_>) -> Result<Vec<Row>, Error> {
        let prepared = self.prepared(statement).await?;
        self.client.query(&prepared, &parameters(statement)).await
    }

    /// Runs the statements in one transaction. Returns the rows of the last one, or none if no statement has parameters.
    /// After an error, the transaction has not taken place, and the connection may be in it.
    pub(crate) async fn transact(&mut self, statements: &[Statement<'_>]) -> Result<Vec<Row>, Error> {
        if statements.iter().all(|statement| statement.parameters.is_empty()) {
            // Each may depend on what those before it define, so they cannot be prepared before.
            let texts: Vec<_> = statements.iter().map(|statement| &*statement.sql).collect();
            self.client.batch_execute(&format!("BEGIN; {}; COMMIT", texts.join("; "))).await?;
            return Ok(Vec::new());
        }
        if statements.len() > PIPELINED {
            self.client.batch_execute("BEGIN").await?;
            let mut rows = Vec::new();
            for statement in statements {
                rows = self.fetch(statement).await?;
            }
            self.client.batch_execute("COMMIT").await?;
            return Ok(rows);
        }
        let mut prepared = Vec::with_capacity(statements.len());
        for statement in statements {
            prepared.push((self.prepared(statement).await?, parameters(statement)));
        }
        // Requests are sent in the order in which they are first polled. After an error, the server refuses the others,
        // and `COMMIT` rolls back.
        let client = &self.client;
        let requests = prepared.iter().map(|(prepared, parameters)| client.query(prepared, parameters));
        let (begin, commit) = (client.batch_execute("BEGIN"), client.batch_execute("COMMIT"));
        let (started, answers, committed) = join3(begin, join_all(requests), commit).await;
        started?;
        let mut rows = Vec::new();
        for answer in answers {
            rows = answer?;
        }
        committed?;
        Ok(rows)
    }

    async fn prepared(&mut self, statement: &Statement<'_>) -> Result<Prepared, Error> {
        self.uses += 1;
        if let Some(cached) = self.statements.get_mut(&*statement.sql) {
            cached.last_use = self.uses;
            return Ok(cached.prepared.clone());
        }
        let types = statement.parameters.iter().map(|parameter| match parameter {
            Parameter::Bytes(_) | Parameter::NoBytes => Type::BYTEA,
            Parameter::Integer(_) => Type::INT8,
        });
        let prepared = self.client.prepare_typed(&statement.sql, &types.collect::<Vec<_>>()).await?;
        if self.statements.len() >= STATEMENTS {
            let oldest = self.statements.iter().min_by_key(|(_, cached)| cached.last_use);
            let oldest = oldest.map(|(sql, _)| sql.clone());
            oldest.and_then(|sql| self.statements.remove(&sql));
        }
        let cached = Cached { prepared: prepared.clone(), last_use: self.uses };
        self.statements.insert(statement.sql.clone().into_owned(), cached);
        Ok(prepared)
    }
}

fn parameters<'a>(statement: &'a Statement<'_>) -> Vec<&'a (dyn ToSql + Sync)> {
    statement.parameters.iter().map(|parameter| parameter as _).collect()
}

impl ToSql for Parameter<'_> {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        match self {
            Self::Bytes(bytes) => (&**bytes).to_sql(kind, out),
            Self::NoBytes => Ok(IsNull::Yes),
            Self::Integer(integer) => integer.to_sql(kind, out),
        }
    }

    fn accepts(kind: &Type) -> bool {
        matches!(*kind, Type::BYTEA | Type::INT8)
    }

    to_sql_checked!();
}
