//! `Database`: an open database, which all stores of this process in it share.

use std::{
    fs::{self, File},
    path::Path,
    sync::Arc,
    time::Duration,
};

use fleche_core::{
    Error, Result,
    claim::Leases,
    spi::written_file,
    store::{BackingFile, FileBacked, OpenStores, Place},
};
use sqlx::postgres::PgConnectOptions;

use crate::{
    driver::Driver,
    error::{DbError, config},
    leases::LeaseRows,
    postgres::{Client, server_options},
    schema,
    schema::{LEASE_TTL, Rights},
    sqlite::{
        file_access::{FileAccess, is_on_network},
        files::beside,
        pool::Pool,
        repair::Repair,
    },
    tables::Tables,
    url::{DatabaseUrl, Target, without_path},
};

/// The settings that describe a database.
#[derive(Clone, Copy)]
pub(crate) struct Settings<'a> {
    pub(crate) url: &'a DatabaseUrl,
    pub(crate) password_env: Option<&'a str>,
    pub(crate) schema: Option<&'a str>,
    pub(crate) timeout: Duration,
}

/// An open database, and the leases that this process has in it.
pub(crate) struct Database {
    pub(crate) tables: Arc<Tables>,
    pub(crate) leases: Leases<LeaseRows>,
    /// The SQLite file, and the URL by which it is opened.
    file: Option<(BackingFile<Self>, DatabaseUrl)>,
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
                let fail = |error: DbError| {
                    if url.is_variable() { error.without_details(&name) } else { error.into_error(&name) }
                };
                let options = server_options(&server, schema).map_err(|error| fail(error.into()))?;
                let database = OPEN.get_or_open(Identity::of_server(&options), || {
                    let opened = Client::connect(options, timeout).map(Driver::Postgres);
                    let opened = opened.and_then(|driver| prepared(driver, schema, &name));
                    Ok(Self::of(name.clone(), opened.map_err(fail)?, None, None))
                })?;
                database.tables.driver.shorten_timeout(timeout);
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
                let pool = Pool::open(path, rollback, access, timeout)?;
                prepared(Driver::Sqlite(pool), None, &name)
            };
            if access != FileAccess::Full {
                let opened = open().map_err(|error| error.into_error(&name))?;
                return Ok(Self::of(name, opened, None, Some(file)));
            }
            let opened = repair_state.watch(open)?;
            Ok(Self::of(name, opened, Some(repair_state.known()), Some(file)))
        })?;
        database.tables.driver.shorten_timeout(timeout);
        Ok(database)
    }

    fn of(
        name: String,
        (driver, rights): (Driver, Rights),
        repair_state: Option<Repair>,
        file: Option<(BackingFile<Self>, DatabaseUrl)>,
    ) -> Self {
        if rights == Rights::Read {
            tracing::info!("{name} is read-only for this user: nothing will be recorded in it");
        }
        let tables = Arc::new(Tables::new(name, driver, rights, repair_state));
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
            Some((file, url)) => Self::open_file(file.path(), url, self.tables.driver.timeout()),
            None => Err(Error::backend(&self.tables.name)("it is not in a file")),
        }
    }
}

/// Prepares the tables of a database.
fn prepared(driver: Driver, schema: Option<&str>, name: &str) -> Result<(Driver, Rights), DbError> {
    let rights = schema::prepare(&driver, schema, name)?;
    Ok((driver, rights))
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
