//! Stores in SQL databases: a SQLite file or a PostgreSQL server.
//!
#![doc = include_str!("../README.md")]
// Each database uses parts that the other does not.
#![cfg_attr(
    not(all(feature = "sqlite", feature = "postgres")),
    allow(
        dead_code,
        irrefutable_let_patterns,
        unused_imports,
        clippy::match_wildcard_for_single_variants,
        clippy::unnecessary_wraps
    )
)]

#[cfg(not(any(feature = "sqlite", feature = "postgres")))]
compile_error!("choose the databases of fleche-store-sql: its features `sqlite` and `postgres`");

mod calls;
mod config;
mod database;
mod driver;
mod error;
mod indexed;
mod leases;
mod limit;
mod list;
#[cfg(feature = "postgres")]
mod postgres;
mod prepare;
mod query;
mod row;
mod schema;
#[cfg(feature = "sqlite")]
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

#[cfg(feature = "sqlite")]
register_backend! {
    name: "sql-sqlite",
    summary: "a SQLite file, for the processes of one host",
    reach: Reach::Shared,
    durable: true,
    scratch: |directory| in_database(format!("sqlite:{}/fleche.db", directory.display()).into(), None),
}

#[cfg(feature = "postgres")]
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
#[cfg(feature = "postgres")]
const SERVER: &str = "$FLECHE_POSTGRES";

/// Returns the name of the database schema that stands for the directory. Nothing is written to the directory itself.
#[cfg(feature = "postgres")]
fn schema_of(directory: &Path) -> String {
    let digest = Digest::hash(directory.as_os_str().as_encoded_bytes());
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
