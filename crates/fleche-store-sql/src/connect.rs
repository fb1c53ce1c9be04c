//! Connecting to a file or a server, and the settings of each connection.

use std::{path::Path, str::FromStr, time::Duration};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection as _, Sqlite,
    pool::PoolOptions,
    postgres::PgConnectOptions,
    query, query_scalar,
    sqlite::{SqliteConnectOptions, SqliteSynchronous},
};
use url::Url;

use crate::{
    access::FileAccess,
    dialect::Dialect,
    link::Connections,
    retry::{Attempts, Limit},
    server::Server,
};

/// The maximum number of connections of one process to one database.
const CONNECTIONS: u32 = 8;
/// A time longer than any operation takes, since `Connections` bounds each operation.
const LONGEST: Duration = Duration::from_hours(24 * 365);
/// The time that SQLite waits for a lock before it reports `SQLITE_BUSY` and the operation is retried.
const BUSY: Duration = Duration::from_millis(250);

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
    Limit::new(timeout, 0).bound(server.lend()).await?.give_back();
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
    PoolOptions::new().max_connections(CONNECTIONS).test_before_acquire(false).acquire_timeout(LONGEST)
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
            let link = to_file(&path, rollback, FileAccess::Full, Duration::from_mins(1))
                .await
                .map_err(backend("the file"))?;
            schema::prepare(&link, None, "the file").await.map_err(|failed| failed.into_error("the file"))?;
            let work = async {
                link.sync().await?;
                let journal = link.read(&Statement::new("PRAGMA journal_mode")).await?[0].text(0)?;
                Ok((journal, link.read(&Statement::new("PRAGMA synchronous")).await?[0].integer(0)?))
            };
            let found = work.await.map_err(backend("the file"));
            link.close().await;
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
