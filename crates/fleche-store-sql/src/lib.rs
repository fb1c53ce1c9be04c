//! Stores in SQL databases: a SQLite file or a PostgreSQL server.
//!
//! [`SqlValues`] stores values, [`SqlCalls`] stores records; they can share a database, in which each has its own
//! tables. Any number of processes may use one database at once: a SQLite file on one host, a PostgreSQL server from
//! many hosts. Choose them to find records among very many by argument, time or metadata, or if a server is what all
//! hosts share. Choose `fleche-store-file` if values are large, or if the hosts share only a directory.
//!
//! ```
//! use fleche_core::{Digest, ValueStore};
//! use fleche_store_sql::SqlValues;
//!
//! # let directory = tempfile::tempdir().unwrap();
//! # let url = format!("sqlite:{}/cache.db", directory.path().display());
//! let values = SqlValues::open(url)?; // for example `sqlite:cache.db`
//! let id = Digest::of(b"a value");
//! values.put(&id, b"a value")?;
//! assert_eq!(values.get(&id)?.as_deref(), Some(&b"a value"[..]));
//! # Ok::<(), fleche_core::Error>(())
//! ```
//!
//! # Passwords
//!
//! ```toml
//! type = "sql"
//! url = "postgres://me@host/results"
//! password_env = "FLECHE_SQL_PASSWORD"
//! schema = "alloys"
//! ```
//!
//! `password_env` names the environment variable that holds the password, wherever the configuration is opened. A
//! password in the URL is only used by this process: `Debug`, errors, logs and serialized configurations show `***` in
//! its place. Opening such a configuration, for example in a worker process, fails with the advice to use
//! `password_env`. Parts that the URL leaves out are taken from the variables that PostgreSQL's own programs read, such
//! as `PGHOST` and `PGPASSWORD`, and the password also from `~/.pgpass`. Connections are encrypted with the feature
//! `tls`, as `?sslmode=…` in the URL specifies.
//!
//! # Layout of the database
//!
//! | table | content |
//! |---|---|
//! | `fleche_meta` | the version of the tables; a program that knows only earlier ones refuses to open them |
//! | `fleche_values` | values by digest, and the time of their last `put`, in milliseconds by the database's clock |
//! | `fleche_calls` | records by key, with function, version and time of writing |
//! | `fleche_arguments`, `fleche_metadata` | indices of records: arguments, and fields of metadata |
//! | `fleche_leases` | claims and their holders |
//! | `fleche_damaged` | quarantined entries, whose content did not match their key; you may inspect and remove them |
//!
//! Names and other text are stored as UTF-8 bytes. Names of more than 512 bytes are truncated, and end with a digest. A
//! record and its index rows are written in one transaction. Listings and queries read page by page, each from where
//! the last one ended; no transaction stays open in between.
//!
//! # Read-only databases
//!
//! A database can be opened with read-only access: by a PostgreSQL role that may `SELECT` from the tables, on a standby
//! server, or as a SQLite file that cannot be written to. Recorded calls are then hits, other calls are not recorded
//! ([`SkipReason::StoreRefused`](fleche_core::SkipReason::StoreRefused)), and nothing is claimed. The tables must exist. If the
//! directory of a SQLite file cannot be written to either, the file is read together with the log that a writer has
//! next to it. Without such a log, the file is read as it is when it is opened; later entries may be missing or be
//! reported as damaged.
//!
//! # Durability
//!
//! A crash of the process loses no entry. In SQLite, a power failure may lose the last commits, but never the file: it
//! is written with a write-ahead log and `synchronous = NORMAL`, and `sync`, which is called for results that took
//! long, waits for the disk. On network file systems, whose locks do not support a write-ahead log, each commit waits
//! for the disk (`journal_mode = DELETE`, `synchronous = EXTRA`); a server is the better choice there. PostgreSQL
//! commits as the server is configured, by default to disk.
//!
//! # Timeouts
//!
//! Each operation, connecting and waiting for locks included, ends within the `timeout` of the configuration, `"5s"` by
//! default, plus one second for each 4 MiB that it sends. Operations that take longer fail, and a cache then [leaves
//! the store alone](fleche_core::Cache#when-a-store-fails) for a while. The connection to a server that does not answer
//! is closed; the server may still execute the operation later. In SQLite, the timeout bounds the wait for locks that
//! other connections hold, in this process or elsewhere. Reading and writing the disk is not bounded. Values of
//! hundreds of megabytes on a slow network need a longer timeout.
//!
//! # Damage
//!
//! An entry whose content does not match its key is moved to `fleche_damaged`. If a page of a SQLite file is damaged,
//! the file is repaired when an operation reads that page. The file is copied to `NAME.damaged-1`, up to
//! `NAME.damaged-4`; the readable rows are copied to a new database; and the new database is written over the damaged
//! one under SQLite's locks, so all processes that have the file open can continue. A warning is logged, and the
//! operation is retried once. Lost entries are absent, and are computed again. The file is left as it is, and the
//! operation fails, if nothing shows that the file belongs to fleche, or if it has tables of other programs or of a
//! later version.
//!
//! # Claims
//!
//! Among the processes that miss a call at the same time, one gets the claim to compute it, and the others wait. A
//! claim is a lease: a row that lasts ten seconds by the database's clock, and that its holder renews every three and a
//! third seconds. So the calls of a killed process go to other processes within ten seconds, even if its clock was
//! ahead. A holder that cannot renew its lease for that long, for example because it was suspended, finds out that it
//! is late, and its result does not replace another. Each grant has a unique number, and only the holder of the last
//! grant can renew, publish or release the claim.

mod calls;
mod config;
mod database;
mod driver;
mod error;
mod indexed;
mod leases;
mod limit;
mod list;
mod postgres;
mod query;
mod row;
mod schema;
mod sqlite;
mod statement;
mod tables;
mod url;
mod values;

pub use calls::SqlCalls;
pub use config::{SqlCallsConfig, SqlValuesConfig};
pub use url::DatabaseUrl;
pub use values::SqlValues;

use std::{path::Path, time::Duration};

use fleche_core::{
    Digest, register_backend,
    store::{Reach, StorePair},
};

register_backend! {
    name: "sql-sqlite",
    summary: "a SQLite file, for the processes of one host",
    reach: Reach::Shared,
    durable: true,
    scratch: |directory| in_database(format!("sqlite:{}/fleche.db", directory.display()).into(), None),
}

register_backend! {
    name: "sql-postgres",
    summary: "a PostgreSQL server, for any number of hosts",
    reach: Reach::Shared,
    durable: true,
    scratch: |directory| in_database(SERVER.into(), Some(schema_of(directory))),
}

/// The timeout of operations of checks.
const PATIENCE: Duration = Duration::from_mins(1);
/// The URL of the server, given as an environment variable. The server must be running.
const SERVER: &str = "$FLECHE_POSTGRES";

/// Returns the name of the database schema that stands for the directory. Nothing is written to the directory itself.
fn schema_of(directory: &Path) -> String {
    let digest = Digest::of(directory.as_os_str().as_encoded_bytes());
    format!("fleche_{}", &digest.to_string()[..32])
}

fn in_database(url: DatabaseUrl, schema: Option<String>) -> StorePair {
    // Many checks run at once, on machines of any speed.
    let mut values = SqlValuesConfig::new(url.clone()).timeout(PATIENCE);
    let mut calls = SqlCallsConfig::new(url).timeout(PATIENCE);
    values.schema.clone_from(&schema);
    calls.schema = schema;
    (Box::new(values), Box::new(calls))
}
