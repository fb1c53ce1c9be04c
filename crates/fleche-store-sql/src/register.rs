//! The two backends, by the databases that they are for.

use std::{env, path::Path};

use fleche_core::{
    Digest, register_backend,
    store::{Reach, StorePair},
};

use crate::{DatabaseUrl, SqlCallsConfig, SqlValuesConfig};

register_backend! {
    name: "sql-sqlite",
    summary: "a file of SQLite, for the processes of one host",
    reach: Reach::Shared,
    durable: true,
    scratch: |directory| in_database(format!("sqlite:{}/fleche.db", directory.display()).into(), None),
}

register_backend! {
    name: "sql-postgres",
    summary: "a server of PostgreSQL, for any number of hosts",
    reach: Reach::Shared,
    durable: true,
    scratch: |directory| in_database(scratch_server(), Some(schema_of(directory))),
}

/// The server that the environment variable `FLECHE_POSTGRES` names, by a URL without a password. Where it is not set,
/// what stands in its place cannot be opened, and the error names it.
fn scratch_server() -> DatabaseUrl {
    env::var("FLECHE_POSTGRES").unwrap_or_else(|_| "$FLECHE_POSTGRES".to_owned()).into()
}

/// A schema for each directory: nothing lies in the directory itself.
fn schema_of(directory: &Path) -> String {
    let digest = Digest::of(directory.as_os_str().as_encoded_bytes());
    format!("fleche_{}", &digest.to_string()[..32])
}

fn in_database(url: DatabaseUrl, schema: Option<String>) -> StorePair {
    let mut values = SqlValuesConfig::new(url.clone());
    let mut calls = SqlCallsConfig::new(url);
    values.schema.clone_from(&schema);
    calls.schema = schema;
    (Box::new(values), Box::new(calls))
}
