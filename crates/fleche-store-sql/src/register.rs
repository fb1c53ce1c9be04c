//! The two backends, by the databases that they are for.

use std::{path::Path, time::Duration};

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
    scratch: |directory| in_database(SERVER.into(), Some(schema_of(directory))),
}

/// How long an operation of a check may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// The server that must be running, by the environment variable that says where.
const SERVER: &str = "$FLECHE_POSTGRES";

/// A schema for each directory: nothing lies in the directory itself.
fn schema_of(directory: &Path) -> String {
    let digest = Digest::of(directory.as_os_str().as_encoded_bytes());
    format!("fleche_{}", &digest.to_string()[..32])
}

fn in_database(url: DatabaseUrl, schema: Option<String>) -> StorePair {
    // Checks run many at once on whatever machine.
    let mut values = SqlValuesConfig::new(url.clone()).timeout(PATIENCE);
    let mut calls = SqlCallsConfig::new(url).timeout(PATIENCE);
    values.schema.clone_from(&schema);
    calls.schema = schema;
    (Box::new(values), Box::new(calls))
}
