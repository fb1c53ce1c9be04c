//! Registers the two backends: SQLite and PostgreSQL.

use std::{path::Path, time::Duration};

use fleche_core::{
    Digest, register_backend,
    store::{Reach, StorePair},
};

use crate::{DatabaseUrl, SqlCallsConfig, SqlValuesConfig};

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

/// Returns a schema for each directory; nothing is written to the directory itself.
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
