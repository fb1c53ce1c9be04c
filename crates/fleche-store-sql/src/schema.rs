//! The definitions of the tables, their version, and the duration of claims in them.

use std::time::Duration;

use crate::statement::{Dialect, Statement};

/// The version of the tables that this version of fleche creates and reads.
pub(crate) const VERSION: i64 = 1;

/// The duration of a claim without renewal. A live process renews a claim each time a third of this time has passed, so
/// a busy database or machine may delay the renewal for more than six seconds before another process takes over the
/// call. After a kill, other processes wait at most this long.
pub(crate) const LEASE_TTL: Duration = Duration::from_secs(10);

/// Returns the statements that create the tables. Each does nothing if it has been run before.
///
/// Text is stored as bytes: so comparison does not depend on a locale, and text may contain zeros, which PostgreSQL's
/// text types do not allow.
pub(crate) fn tables(dialect: Dialect, schema: Option<&str>) -> Vec<Statement<'static>> {
    let (bytes, counter, all_key) = (dialect.bytes(), dialect.counter(), dialect.all_key());
    let mut statements = Vec::new();
    if dialect == Dialect::Postgres {
        // A second process waits here until the first has committed. The number stands for "fleche".
        statements.push("SELECT pg_advisory_xact_lock(112615676672869)".to_owned());
        // A user without permission to create schemas may use an existing one, but `IF NOT EXISTS` checks the
        // permission first.
        statements.extend(schema.map(|schema| {
            format!(
                "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = '{schema}')
                 THEN CREATE SCHEMA {schema}; END IF; END $$"
            )
        }));
    }
    statements.extend([
        "CREATE TABLE IF NOT EXISTS fleche_meta (name TEXT NOT NULL PRIMARY KEY, value BIGINT NOT NULL)".to_owned(),
        format!(
            "CREATE TABLE IF NOT EXISTS fleche_values (
                id {bytes} NOT NULL PRIMARY KEY, put BIGINT NOT NULL, bytes {bytes} NOT NULL)"
        ),
        // Increasing numbers put new rows last in most indices, so that their pages are written together.
        format!(
            "CREATE TABLE IF NOT EXISTS fleche_calls (
                number {counter}, key {bytes} NOT NULL UNIQUE, function {bytes} NOT NULL, version BIGINT NOT NULL,
                written BIGINT NOT NULL, record {bytes} NOT NULL)"
        ),
        "CREATE INDEX IF NOT EXISTS fleche_calls_by_function ON fleche_calls (function, number)".to_owned(),
        "CREATE INDEX IF NOT EXISTS fleche_calls_by_version ON fleche_calls (version, number)".to_owned(),
        "CREATE INDEX IF NOT EXISTS fleche_calls_by_time ON fleche_calls (written, number)".to_owned(),
        format!(
            "CREATE TABLE IF NOT EXISTS fleche_arguments (
                call BIGINT NOT NULL, name {bytes} NOT NULL, reference {bytes} NOT NULL,
                PRIMARY KEY (name, reference, call)) {all_key}"
        ),
        "CREATE INDEX IF NOT EXISTS fleche_arguments_by_call ON fleche_arguments (call)".to_owned(),
        format!(
            "CREATE TABLE IF NOT EXISTS fleche_metadata (
                call BIGINT NOT NULL, kind {bytes} NOT NULL, name {bytes} NOT NULL, value {bytes} NOT NULL,
                PRIMARY KEY (kind, name, value, call)) {all_key}"
        ),
        "CREATE INDEX IF NOT EXISTS fleche_metadata_by_call ON fleche_metadata (call)".to_owned(),
        format!(
            "CREATE TABLE IF NOT EXISTS fleche_leases (
                number {counter}, key {bytes} NOT NULL UNIQUE, until BIGINT NOT NULL, host {bytes} NOT NULL,
                process BIGINT NOT NULL, since BIGINT NOT NULL, awaits {bytes})"
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS fleche_damaged (
                number {counter}, origin TEXT NOT NULL, key {bytes} NOT NULL, bytes {bytes} NOT NULL,
                why {bytes} NOT NULL, noticed BIGINT NOT NULL)"
        ),
        "INSERT INTO fleche_meta (name, value) VALUES ('syncs', 0) ON CONFLICT (name) DO NOTHING".to_owned(),
        format!("INSERT INTO fleche_meta (name, value) VALUES ('schema', {VERSION}) ON CONFLICT (name) DO NOTHING"),
    ]);
    if dialect == Dialect::Postgres {
        // Values that compress well should be compressed by a layer of fleche. Without compression by the server, their
        // length is known at once.
        statements.push("ALTER TABLE fleche_values ALTER COLUMN bytes SET STORAGE EXTERNAL".to_owned());
    }
    statements.into_iter().map(Statement::new).collect()
}

/// Returns the duration in milliseconds, as statements take it.
pub(crate) fn millis(lasts: Duration) -> i64 {
    i64::try_from(lasts.as_millis()).unwrap_or(i64::MAX)
}
