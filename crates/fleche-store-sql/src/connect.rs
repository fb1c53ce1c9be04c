//! Connecting: what is set for each connection to a file or a server.

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
    link::Link,
    retry::{Attempts, Limit},
    server::Server,
};

/// The most connections of one process to one database.
const CONNECTIONS: u32 = 8;
/// Longer than any operation waits: the link bounds each one.
const LONGEST: Duration = Duration::from_hours(24 * 365);
/// How long SQLite waits for a lock before it reports `SQLITE_BUSY` and the operation is tried again.
const BUSY: Duration = Duration::from_millis(250);

/// Connections to this file, which exists. It has a write-ahead log, or a rollback journal where the memory that those who
/// use such a log must share does not reach all of them.
pub(crate) async fn to_file(path: &Path, rollback: bool, access: FileAccess, timeout: Duration) -> sqlx::Result<Link> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY)
        // In kibibytes: what indices of a million records are inserted into.
        .pragma("cache_size", "-16384")
        // A page that is damaged is noticed when it is read.
        .pragma("cell_size_check", "ON")
        .thread_name(|number| format!("fleche-sqlite-{number}"))
        .disable_statement_logging();
    if access != FileAccess::Full {
        let options = options.read_only(true).immutable(access == FileAccess::ReadAsItIs);
        return Ok(Link::to_file(pool().connect_lazy_with(options), rollback, timeout).read_only());
    }
    set_journal(&options, if rollback { "delete" } else { "wal" }, Limit::new(timeout, 0)).await?;
    let synchronous = if rollback { SqliteSynchronous::Extra } else { SqliteSynchronous::Normal };
    Ok(Link::to_file(pool().connect_lazy_with(options.synchronous(synchronous)), rollback, timeout))
}

/// Has the file keep its journal so. It is a property of the file: who opens it first sets it.
async fn set_journal(options: &SqliteConnectOptions, wanted: &str, limit: Limit) -> sqlx::Result<()> {
    let mut attempts = Attempts::new(Dialect::Sqlite, limit);
    loop {
        match try_set_journal(options, wanted).await {
            Err(error) => attempts.again(error).await?,
            done => return done,
        }
    }
}

// The connection has no settings for which SQLite reads the file: so it is closed in order where that is damaged.
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

/// Connections to this server. The tables are in this schema, if one is given.
pub(crate) async fn to_server(options: PgConnectOptions, timeout: Duration) -> sqlx::Result<Link> {
    let server = Server::new(options.disable_statement_logging(), CONNECTIONS);
    // Connects once, so that a missing server is reported when the store is opened.
    Limit::new(timeout, 0).bound(server.lend()).await?.give_back();
    Ok(Link::to_server(server, timeout))
}

/// What the URL and the environment say about a server.
pub(crate) fn server_options(url: &Url, schema: Option<&str>) -> sqlx::Result<PgConnectOptions> {
    let options = PgConnectOptions::from_str(url.as_str())?;
    let options = if options.get_application_name().is_none() { options.application_name("fleche") } else { options };
    Ok(match schema {
        None => options,
        Some(schema) => options.options([("search_path", schema)]),
    })
}

fn pool() -> PoolOptions<Sqlite> {
    // Connections to a file need no test before each use. The link bounds the waits.
    PoolOptions::new().max_connections(CONNECTIONS).test_before_acquire(false).acquire_timeout(LONGEST)
}

#[cfg(test)]
mod tests {
    use fleche_core::{Error, Result};

    use super::*;
    use crate::{error::backend, runtime, schema, statement::Statement};

    /// What the file's journal is, and how far commits wait for the disk, once something was written and synced.
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
    fn a_file_has_the_journal_that_its_place_allows_whatever_it_had_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        std::fs::write(&path, b"").unwrap();
        for _ in 0..2 {
            assert_eq!(journal(&path, false).unwrap(), ("wal".to_owned(), 1));
            assert_eq!(journal(&path, true).unwrap(), ("delete".to_owned(), 3));
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_not_made() {
        let directory = tempfile::tempdir().unwrap();
        let error = journal(&directory.path().join("db"), false).unwrap_err();
        assert!(matches!(error, Error::Backend { .. }), "{error:?}");
    }
}
