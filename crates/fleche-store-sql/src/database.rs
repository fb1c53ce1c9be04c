//! `Database`: an open database, which all stores of this process in it share.

use std::{
    collections::HashSet,
    fs::{self, File},
    future::Future,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use fleche_core::{
    CallKey, Error, Result,
    claim::Leases,
    spi::written_file,
    store::ensure_not_forked,
    store::{BackingFile, FileBacked, OpenStores, Place},
};
use sqlx::postgres::PgConnectOptions;

use crate::{
    access::FileAccess,
    config::Settings,
    connect,
    dialect::Dialect,
    error::{Failed, config, read_only, without_path},
    heal::Repair,
    keep::beside,
    leases::{LEASE_TTL, LeaseRows},
    link::Connections,
    network::is_on_network,
    runtime,
    schema::{self, Rights},
    statement::{Row, Statement},
    url::{DatabaseUrl, Target},
};

/// The maximum length of a value, in bytes, that both databases can store in one row: a SQLite row has at most a
/// billion bytes, a PostgreSQL field or message at most 1 GiB. The rest of the row needs some of it.
pub(crate) const LONGEST: usize = 999_000_000;

/// An open database, and the leases that this process has in it.
pub(crate) struct Database {
    pub(crate) tables: Arc<Tables>,
    pub(crate) leases: Leases<LeaseRows>,
    /// The SQLite file, and the URL by which it is opened.
    file: Option<(BackingFile<Self>, DatabaseUrl)>,
}

/// The tables of a database, as one process sees them.
pub(crate) struct Tables {
    /// The name in messages, without a password.
    pub(crate) name: String,
    link: Connections,
    rights: Rights,
    /// Repairs the SQLite file.
    repair_state: Option<Repair>,
    /// The keys under which this process has found records of a later format.
    later: Mutex<HashSet<CallKey>>,
}

/// The properties by which two databases are the same one.
#[derive(PartialEq, Eq, Hash)]
enum Identity {
    File(Place),
    Server { host: String, port: u16, user: String, database: Option<String>, search: Option<String> },
}

static OPEN: OpenStores<Identity, Database> = OpenStores::new();

impl Database {
    /// Opens the database that these settings describe, creating missing tables. Returns it with the URL by which it
    /// can be opened anywhere.
    pub(crate) fn open(settings: Settings<'_>) -> Result<(Arc<Self>, DatabaseUrl)> {
        let Settings { url, password_env, schema, timeout } = settings;
        match url.target(password_env)? {
            Target::File(path) => {
                if schema.is_some() {
                    return Err(config(format!("the database `{url}`"), "SQLite has no schemas: remove `schema`"));
                }
                let path = std::path::absolute(&path).map_err(Error::io("find the absolute path of", &path))?;
                let Some(text) = path.to_str().filter(|text| !is_mangled(text)) else {
                    return Err(not_text(&path, url));
                };
                // A process with another working directory needs the absolute path.
                let absolute: DatabaseUrl = format!("sqlite:{text}").into();
                if url.is_variable() {
                    let database = Self::open_file(&path, url, timeout).map_err(|error| without_path(error, url))?;
                    return Ok((database, absolute));
                }
                Ok((Self::open_file(&path, &absolute, timeout)?, absolute))
            }
            Target::Server(server) => {
                check_schema(url, schema)?;
                let place = schema.map_or_else(String::new, |schema| format!(", schema `{schema}`"));
                let name = format!("the sql store `{url}`{place}");
                let fail = |failed: Failed| {
                    if url.is_variable() { failed.without_details(&name) } else { failed.into_error(&name) }
                };
                let options = connect::server_options(&server, schema).map_err(|error| fail(error.into()))?;
                let schema = schema.map(str::to_owned);
                let database = OPEN.get_or_open(Identity::of_server(&options), || {
                    let opened = connected(&name, schema, async move { connect::to_server(options, timeout).await });
                    Ok(Self::of(name.clone(), opened.map_err(fail)?, None, None))
                })?;
                database.tables.link.shorten_timeout(timeout);
                Ok((database, url.clone()))
            }
        }
    }

    /// Opens the database in this SQLite file, creating the file if it is missing.
    fn open_file(path: &Path, url: &DatabaseUrl, timeout: Duration) -> Result<Arc<Self>> {
        let name = format!("the sql store `{url}`");
        let database = OPEN.get_or_open(Identity::File(existing(path)?), || {
            let file = (BackingFile::new(path)?, url.clone());
            let rollback = is_on_network(path);
            let access = FileAccess::of(path);
            let repair_state = Repair::of(path, rollback, &name, timeout);
            let open = || {
                let path = path.to_owned();
                connected(&name, None, async move { connect::to_file(&path, rollback, access, timeout).await })
            };
            if access != FileAccess::Full {
                let opened = open().map_err(|failed| failed.into_error(&name))?;
                return Ok(Self::of(name, opened, None, Some(file)));
            }
            let opened = repair_state.watch(open)?;
            Ok(Self::of(name, opened, Some(repair_state.known()), Some(file)))
        })?;
        database.tables.link.shorten_timeout(timeout);
        Ok(database)
    }

    fn of(
        name: String,
        (link, rights): (Connections, Rights),
        repair_state: Option<Repair>,
        file: Option<(BackingFile<Self>, DatabaseUrl)>,
    ) -> Self {
        if rights == Rights::Read {
            tracing::info!("{name} is read-only for this user: nothing will be recorded in it");
        }
        let tables = Arc::new(Tables { name, link, rights, repair_state, later: Mutex::default() });
        Self { leases: Leases::new(LeaseRows(tables.clone()), LEASE_TTL), tables, file }
    }
}

impl FileBacked for Database {
    fn backing_file(&self) -> Option<&BackingFile<Self>> {
        self.file.as_ref().map(|(file, _)| file)
    }

    fn open_again(&self) -> Result<Arc<Self>> {
        if let Some((file, _)) = &self.file {
            remove_companions(file.path());
        }
        match &self.file {
            Some((file, url)) => Self::open_file(file.path(), url, self.tables.link.timeout()),
            None => Err(Error::backend(&self.tables.name)("it is not in a file")),
        }
    }
}

/// Connects to a database and prepares its tables.
fn connected(
    name: &str,
    schema: Option<String>,
    connect: impl Future<Output = sqlx::Result<Connections>> + Send + 'static,
) -> Result<(Connections, Rights), Failed> {
    let to = name.to_owned();
    let prepared = async move {
        let link = connect.await?;
        match schema::prepare(&link, schema.as_deref(), &to).await {
            Ok(rights) => Ok((link, rights)),
            Err(failed) => {
                link.close().await;
                Err(failed)
            }
        }
    };
    runtime::run(name, async move { Ok(prepared.await) })?
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
                "the schema `{name}` must have at most 63 lower-case letters, digits and `_`, and not begin with a digit or `pg_`"
            ),
        )),
        _ => Ok(()),
    }
}

/// Returns whether the path was made from one that is not UTF-8, for instance by `Path::display`: it has a replacement character.
/// An existing file whose name has this character is fine.
fn is_mangled(path: &str) -> bool {
    path.contains(char::REPLACEMENT_CHARACTER) && !Path::new(path).exists()
}

/// Returns the error of a path that is not UTF-8, which neither URLs nor the driver accept.
fn not_text(path: &Path, url: &DatabaseUrl) -> Error {
    let why = "the path is not UTF-8, as SQLite databases need it: rename the directory or choose another one, or use a file or \
               redb store, which accept any path";
    let shown = if url.is_variable() { url.to_string() } else { path.display().to_string() };
    config(format!("the SQLite database `{shown}`"), why)
}

/// Removes the log and its index if only the database file itself was removed. A new file of that name would be read
/// with them. Connections that have them open keep them until they are closed.
fn remove_companions(path: &Path) {
    if path.exists() {
        return;
    }
    for ending in ["-wal", "-shm", "-journal"] {
        // If one cannot be removed, opening the new file fails.
        let _ = fs::remove_file(beside(path, ending));
    }
}

/// Returns the identity of the file, which is created if it is missing.
fn existing(path: &Path) -> Result<Place> {
    written_file::check_named(path).map_err(Error::io("open the SQLite database", path))?;
    // An existing file is not opened: closing it would release the locks that SQLite has on it in this process.
    if !path.exists() {
        let directory = path.parent().unwrap_or(path);
        fs::create_dir_all(directory).map_err(Error::io("create the directory", directory))?;
        match File::create_new(path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(Error::io("create", path)(error));
            }
            _ => {}
        }
        // Makes the new file survive a power failure, as far as possible.
        let _ = File::open(directory).and_then(|directory| directory.sync_all());
    }
    // SQLite creates these files next to the target of a link.
    let file = fs::canonicalize(path).map_err(Error::io("find", path))?;
    for ending in ["-wal", "-shm", "-journal"] {
        written_file::check_beside(&beside(&file, ending)).map_err(Error::io("open the SQLite database", path))?;
    }
    Place::of(path)
}

impl Tables {
    /// Returns whether the database is read-only for this user.
    pub(crate) fn is_read_only(&self) -> bool {
        self.rights == Rights::Read
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.link.dialect()
    }

    /// Runs a statement that changes nothing, and returns its rows.
    pub(crate) fn read(&self, statement: Statement) -> Result<Vec<Row>> {
        let statement = Arc::new(statement);
        self.run(|link| {
            let statement = statement.clone();
            async move { link.read(&statement).await }
        })
    }

    /// Runs the statements in one transaction. Returns the rows of each.
    ///
    /// # Errors
    /// Fails with [`Error::Refused`] if the database is read-only.
    pub(crate) fn write(&self, statements: Vec<Statement>) -> Result<Vec<Vec<Row>>> {
        if self.is_read_only() {
            return Err(read_only(&self.name));
        }
        let statements = Arc::new(statements);
        self.run(|link| {
            let statements = statements.clone();
            async move { link.write(&statements).await }
        })
    }

    /// Runs the statement. Returns its number of rows: one for each changed row, if it ends with `RETURNING 1`.
    pub(crate) fn change(&self, statement: Statement) -> Result<usize> {
        Ok(self.write(vec![statement])?.first().map_or(0, Vec::len))
    }

    /// Returns once all earlier writes are on disk.
    pub(crate) fn sync(&self) -> Result<()> {
        if self.is_read_only() {
            return Ok(());
        }
        self.run(|link| async move { link.sync().await })
    }

    /// Returns the keys under which this process has found records of a later format.
    pub(crate) fn later(&self) -> MutexGuard<'_, HashSet<CallKey>> {
        self.later.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run<T, F>(&self, operation: impl Fn(Connections) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = sqlx::Result<T>> + Send + 'static,
    {
        let name = &self.name;
        ensure_not_forked(|| name)?;
        let attempt = || {
            let operation = operation(self.link.clone());
            Ok(runtime::run(name, async move { Ok(operation.await) })??)
        };
        match &self.repair_state {
            Some(repair_state) => repair_state.watch(attempt),
            None => attempt().map_err(|failed: Failed| failed.into_error(name)),
        }
    }
}

impl Drop for Tables {
    fn drop(&mut self) {
        runtime::finish(self.link.clone().close());
    }
}
