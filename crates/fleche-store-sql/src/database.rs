//! `Database`: what is open in this process, shared by all stores in one database.

use std::{
    collections::HashSet,
    fs::{self, File},
    future::Future,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use fleche_core::{
    CallKey, Error, Result,
    claim::Leases,
    store::{OpenStores, Place},
};
use sqlx::postgres::PgConnectOptions;

use crate::{
    config::Settings,
    connect,
    dialect::Dialect,
    error::{backend, config},
    leases::{LASTS, LeaseRows},
    link::Link,
    network::is_on_network,
    runtime, schema,
    statement::{Row, Statement},
    url::{DatabaseUrl, Target},
};

/// The longest value, in bytes, that both databases keep in one row: a row of SQLite has a billion bytes at most, a field
/// of PostgreSQL and what is sent of it 1 GiB. Some of it is for the rest of the row.
pub(crate) const LONGEST: usize = 999_000_000;

/// A database that is open, and the leases that this process has there.
pub(crate) struct Database {
    pub(crate) tables: Arc<Tables>,
    pub(crate) leases: Leases<LeaseRows>,
}

/// The tables of a database, as one process sees them.
pub(crate) struct Tables {
    /// For messages; without a password.
    pub(crate) name: String,
    link: Link,
    /// The keys under which this process has met records of a later format.
    later: Mutex<HashSet<CallKey>>,
}

/// What makes two databases the same one.
#[derive(PartialEq, Eq, Hash)]
enum Identity {
    File(Place),
    Server { host: String, port: u16, user: String, database: Option<String>, search: Option<String> },
}

static OPEN: OpenStores<Identity, Database> = OpenStores::new();

impl Database {
    /// The database that these settings describe, with its tables, and how it is called wherever it is opened.
    pub(crate) fn open(settings: Settings<'_>) -> Result<(Arc<Self>, DatabaseUrl)> {
        let Settings { url, password_env, schema } = settings;
        match url.target(password_env)? {
            Target::File(path) => {
                if schema.is_some() {
                    return Err(config(format!("the database `{url}`"), "SQLite has no schemas: remove `schema`"));
                }
                let (path, place) = existing(&path)?;
                // Elsewhere another directory is the working directory.
                let url = path.to_str().map_or_else(|| url.clone(), |path| format!("sqlite:{path}").into());
                let name = format!("the sql store `{url}`");
                let database = OPEN.get_or_open(Identity::File(place), || {
                    let rollback = is_on_network(&path);
                    Self::connect(name, None, async move { connect::to_file(&path, rollback).await })
                })?;
                Ok((database, url))
            }
            Target::Server(server) => {
                check_schema(url, schema)?;
                let place = schema.map_or_else(String::new, |schema| format!(", schema `{schema}`"));
                let name = format!("the sql store `{url}`{place}");
                let options = connect::server_options(&server, schema).map_err(backend(&name))?;
                let schema = schema.map(str::to_owned);
                let database = OPEN.get_or_open(Identity::of_server(&options), || {
                    Self::connect(name, schema, async move { connect::to_server(options).await })
                })?;
                Ok((database, url.clone()))
            }
        }
    }

    fn connect(
        name: String,
        schema: Option<String>,
        connect: impl Future<Output = sqlx::Result<Link>> + Send + 'static,
    ) -> Result<Self> {
        let to = name.clone();
        let link = runtime::run(&name, async move {
            let link = connect.await.map_err(backend(&to))?;
            match schema::prepare(&link, schema.as_deref(), &to).await {
                Ok(()) => Ok(link),
                Err(error) => {
                    link.close().await;
                    Err(error)
                }
            }
        })?;
        let tables = Arc::new(Tables { name, link, later: Mutex::default() });
        Ok(Self { leases: Leases::new(LeaseRows(tables.clone()), LASTS), tables })
    }
}

impl Identity {
    fn of_server(options: &PgConnectOptions) -> Self {
        let host =
            options.get_socket().map_or_else(|| options.get_host().into(), |socket| socket.display().to_string());
        Self::Server {
            host,
            port: options.get_port(),
            user: options.get_username().to_owned(),
            database: options.get_database().map(str::to_owned),
            search: options.get_options().map(str::to_owned),
        }
    }
}

// Names that need no quotes mean the same in every setting.
fn check_schema(url: &DatabaseUrl, schema: Option<&str>) -> Result<()> {
    let fits = |name: &str| {
        (1..=63).contains(&name.len())
            && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
            && !name.starts_with(|first: char| first.is_ascii_digit())
            && !name.starts_with("pg_")
    };
    match schema {
        Some(name) if !fits(name) => Err(config(
            format!("the database `{url}`"),
            format!(
                "the schema `{name}` must have lower-case letters, digits and `_`, at most 63, and not begin with a digit or `pg_`"
            ),
        )),
        _ => Ok(()),
    }
}

/// The absolute path of the file, which is created if it is missing, and its place.
fn existing(path: &Path) -> Result<(PathBuf, Place)> {
    let path = std::path::absolute(path).map_err(Error::io("find the absolute path of", path))?;
    // A file that is there is not opened: closing it would end the locks that SQLite has on it in this process.
    if !path.exists() {
        let directory = path.parent().unwrap_or(&path);
        fs::create_dir_all(directory).map_err(Error::io("create the directory", directory))?;
        match File::create_new(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(Error::io("create", path)(error));
            }
            _ => {}
        }
        // So that the file does not vanish with all that is synced in it. Where that cannot be done, nothing is lost but
        // that.
        let _ = File::open(directory).and_then(|directory| directory.sync_all());
    }
    let place = Place::of(&path)?;
    Ok((path, place))
}

impl Tables {
    pub(crate) fn dialect(&self) -> Dialect {
        self.link.dialect()
    }

    /// The rows that the statement, which changes nothing, gives.
    pub(crate) fn read(&self, statement: Statement) -> Result<Vec<Row>> {
        let link = self.link.clone();
        self.run(async move { link.read(&statement).await })
    }

    /// Runs the statements as one. The rows that each gives.
    pub(crate) fn write(&self, statements: Vec<Statement>) -> Result<Vec<Vec<Row>>> {
        let link = self.link.clone();
        self.run(async move { link.write(&statements).await })
    }

    /// Runs the statement. How many rows it gives: one for each that it changes, if it ends with `RETURNING 1`.
    pub(crate) fn change(&self, statement: Statement) -> Result<usize> {
        Ok(self.write(vec![statement])?.first().map_or(0, Vec::len))
    }

    /// Returns when everything that was written before is on disk.
    pub(crate) fn sync(&self) -> Result<()> {
        let link = self.link.clone();
        self.run(async move { link.sync().await })
    }

    /// The keys under which this process has met records of a later format.
    pub(crate) fn later(&self) -> MutexGuard<'_, HashSet<CallKey>> {
        self.later.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run<T: Send + 'static>(&self, future: impl Future<Output = sqlx::Result<T>> + Send + 'static) -> Result<T> {
        // The name is wanted where it fails.
        let name = &self.name;
        runtime::run(name, async move { Ok(future.await) })?.map_err(backend(name))
    }
}

impl Drop for Tables {
    fn drop(&mut self) {
        runtime::finish(self.link.clone().close());
    }
}
