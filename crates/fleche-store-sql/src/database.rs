//! `Database`: an open database, which all stores of this process in it share.

use std::{path::Path, sync::Arc, time::Duration};

use fleche_core::{
    Error, Result,
    claim::Leases,
    store::kit::{BackingFile, FileBacked, OpenDatabase, OpenStores, StoreName},
};
use url::Url;

#[cfg(feature = "postgres")]
use crate::postgres::{Client, ServerIdentity, ServerOptions};
#[cfg(feature = "sqlite")]
use crate::sqlite::{
    file_access::{FileAccess, is_on_network},
    path::{existing, is_mangled, not_text, remove_companions, without_path},
    pool::Pool,
    repair::Repair,
};
use crate::{
    driver::Driver,
    error::{DbError, config},
    leases::LeaseRows,
    prepare::{self, Rights},
    schema::LEASE_TTL,
    tables::Tables,
    url::{DatabaseUrl, Target},
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
    #[cfg(feature = "sqlite")]
    File(fleche_core::store::kit::Place),
    #[cfg(feature = "postgres")]
    Server(ServerIdentity),
}

static OPEN: OpenStores<Identity, Database> = OpenStores::new();

impl Database {
    /// Opens the database that these settings describe, creating missing tables. Returns it with the URL by which it
    /// can be opened anywhere.
    pub(crate) fn open(settings: Settings<'_>) -> Result<(Arc<Self>, DatabaseUrl)> {
        match settings.url.target(settings.password_env)? {
            Target::File(path) => Self::open_path(&path, settings),
            Target::Server(server) => Self::open_server(&server, settings),
        }
    }

    #[cfg(not(feature = "sqlite"))]
    fn open_path(_path: &Path, Settings { url, .. }: Settings<'_>) -> Result<(Arc<Self>, DatabaseUrl)> {
        Err(without_feature(url, "sqlite"))
    }

    #[cfg(feature = "sqlite")]
    fn open_path(path: &Path, settings: Settings<'_>) -> Result<(Arc<Self>, DatabaseUrl)> {
        let Settings { url, schema, timeout, .. } = settings;
        if schema.is_some() {
            return Err(config(format!("the database `{url}`"), "SQLite has no schemas: remove `schema`"));
        }
        let path = std::path::absolute(path).map_err(Error::io("find the absolute path of", path))?;
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

    /// Opens the database in this SQLite file, creating the file if it is missing.
    #[cfg(feature = "sqlite")]
    fn open_file(path: &Path, url: &DatabaseUrl, timeout: Duration) -> Result<Arc<Self>> {
        let name = StoreName::new("sql store", url);
        let database = OPEN.get_or_open(Identity::File(existing(path)?), || {
            let file = (BackingFile::new(path)?, url.clone());
            let rollback = is_on_network(path);
            let access = FileAccess::of(path);
            let open = || {
                let pool = Pool::open(path, rollback, access, timeout)?;
                prepared(Driver::Sqlite(pool), None, &name)
            };
            let repair = (access == FileAccess::Full).then(|| Repair::new(path, rollback, name.clone(), timeout));
            let opened = repair.as_ref().map_or_else(open, |repair| repair.watch(open));
            let (mut driver, rights) = opened.map_err(|error| error.into_error(&name))?;
            if let Driver::Sqlite(pool) = &mut driver {
                pool.repair = repair.map(Repair::known);
            }
            Ok(Self::of(name, driver, rights, Some(file)))
        })?;
        database.tables.driver.shorten_timeout(timeout);
        Ok(database)
    }

    #[cfg(not(feature = "postgres"))]
    fn open_server(_server: &Url, Settings { url, .. }: Settings<'_>) -> Result<(Arc<Self>, DatabaseUrl)> {
        Err(without_feature(url, "postgres"))
    }

    #[cfg(feature = "postgres")]
    fn open_server(server: &Url, settings: Settings<'_>) -> Result<(Arc<Self>, DatabaseUrl)> {
        let Settings { url, schema, timeout, .. } = settings;
        check_schema(url, schema)?;
        let schema_part = schema.map_or_else(String::new, |schema| format!(" (schema {schema})"));
        let name = StoreName::new("sql store", format_args!("{url}{schema_part}"));
        let options = ServerOptions::new(server, schema);
        let (options, identity) = options.map_err(|why| config(format!("the database URL `{url}`"), why))?;
        let database = OPEN.get_or_open(Identity::Server(identity), || {
            let opened = Client::connect(options, timeout).map(Driver::Postgres);
            let opened = opened.and_then(|driver| prepared(driver, schema, &name));
            let (driver, rights) = opened.map_err(|error| {
                if url.is_variable() { error.without_details(&name) } else { error.into_error(&name) }
            })?;
            Ok(Self::of(name, driver, rights, None))
        })?;
        database.tables.driver.shorten_timeout(timeout);
        Ok((database, url.clone()))
    }

    fn of(name: StoreName, driver: Driver, rights: Rights, file: Option<(BackingFile<Self>, DatabaseUrl)>) -> Self {
        if rights == Rights::Read {
            tracing::info!("{name} is read-only for this user: nothing will be recorded in it");
        }
        let tables = Arc::new(Tables::new(name, driver, rights));
        Self { leases: Leases::new(LeaseRows(tables.clone()), LEASE_TTL), tables, file }
    }
}

impl OpenDatabase for Database {
    fn name(&self) -> &StoreName {
        &self.tables.name
    }

    fn is_read_only(&self) -> bool {
        self.tables.is_read_only()
    }
}

impl FileBacked for Database {
    fn backing_file(&self) -> Option<&BackingFile<Self>> {
        self.file.as_ref().map(|(file, _)| file)
    }

    fn open_again(&self) -> Result<Arc<Self>> {
        #[cfg(feature = "sqlite")]
        if let Some((file, url)) = &self.file {
            remove_companions(file.path());
            return Self::open_file(file.path(), url, self.tables.driver.timeout());
        }
        Err(self.tables.name.backend()("it is not in a file"))
    }
}

#[cfg(not(all(feature = "sqlite", feature = "postgres")))]
fn without_feature(url: &DatabaseUrl, feature: &str) -> Error {
    let why = format!("this program was built without the feature `{feature}` of fleche-store-sql");
    config(format!("the database `{url}`"), why)
}

/// Prepares the tables of a database.
fn prepared(driver: Driver, schema: Option<&str>, name: &StoreName) -> Result<(Driver, Rights), DbError> {
    let rights = prepare::prepare(&driver, schema, name)?;
    Ok((driver, rights))
}

// Names that need no quotes mean the same in every setting.
#[cfg(feature = "postgres")]
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
