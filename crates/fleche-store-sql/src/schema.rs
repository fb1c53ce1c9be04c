//! The tables: made where they are missing, and brought to the version that this program knows.

use crate::{
    dialect::Dialect,
    error::{Failed, config},
    link::Link,
    statement::Statement,
};

/// The version of the tables that this program makes and reads.
pub(crate) const VERSION: i64 = 1;

/// What this user may do with the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rights {
    Full,
    Read,
}

/// Makes the tables, in this schema if one is given. Any number of processes may do so at once. Where there are tables,
/// nothing is written but what they need.
///
/// # Errors
/// [`Error::Config`](fleche_core::Error::Config) if a later program made the tables, or they are missing and cannot be made.
pub(crate) async fn prepare(link: &Link, schema: Option<&str>, store: &str) -> Result<Rights, Failed> {
    let mut version = version(link).await?;
    if version.is_none_or(|version| version < VERSION) {
        match link.write(&tables(link.dialect(), schema)).await.map_err(Failed::Sql) {
            Err(failed) if failed.is_denied() => {
                let why = format!("its tables are missing, and this user may not make them ({failed})");
                return Err(Failed::Other(config(store, why)));
            }
            made => made?,
        };
        version = self::version(link).await?;
    }
    match version {
        Some(VERSION) => {
            let rights = rights(link).await?;
            if rights == Rights::Full {
                sweep(link).await?;
            }
            Ok(rights)
        }
        Some(version) => Err(Failed::Other(config(
            store,
            format!(
                "its tables are of version {version}, and this program knows version {VERSION}: use the program that made \
                 them, or a later one"
            ),
        ))),
        None => {
            let why = "`fleche_meta` does not tell the version of its tables: use another database";
            Err(Failed::Other(config(store, why)))
        }
    }
}

async fn rights(link: &Link) -> sqlx::Result<Rights> {
    let may_write = match link.dialect() {
        Dialect::Sqlite => !link.is_read_only(),
        Dialect::Postgres => {
            let tables = ["fleche_values", "fleche_calls", "fleche_arguments", "fleche_metadata", "fleche_leases"];
            let tables = tables.map(|table| format!("has_table_privilege('{table}', 'INSERT')")).join(" AND ");
            let asked = format!("SELECT 1 WHERE current_setting('transaction_read_only') = 'off' AND {tables}");
            !link.read(&Statement::new(asked)).await?.is_empty()
        }
    };
    Ok(if may_write { Rights::Full } else { Rights::Read })
}

/// Removes claims that were lost long ago or whose times are far in the future: no process holds them. Writes only if there
/// are any, so that opening does not wait for writers.
async fn sweep(link: &Link) -> sqlx::Result<()> {
    let now = link.dialect().now();
    let lost = format!("FROM fleche_leases WHERE until < {now} - 86400000 OR until > {now} + 86400000");
    if !link.read(&Statement::new(format!("SELECT 1 {lost} LIMIT 1"))).await?.is_empty()
        && let Err(error) = link.write(&[Statement::new(format!("DELETE {lost}"))]).await
    {
        tracing::debug!(%error, "cannot remove claims that no process holds");
    }
    Ok(())
}

/// The version of the tables; `None` if there are none.
async fn version(link: &Link) -> sqlx::Result<Option<i64>> {
    let exists = match link.dialect() {
        Dialect::Sqlite => "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'fleche_meta'",
        Dialect::Postgres => "SELECT 1 WHERE to_regclass('fleche_meta') IS NOT NULL",
    };
    if link.read(&Statement::new(exists)).await?.is_empty() {
        return Ok(None);
    }
    let rows = link.read(&Statement::new("SELECT value FROM fleche_meta WHERE name = 'schema'")).await?;
    rows.first().map(|row| row.integer(0)).transpose()
}

/// Makes what is missing. Each statement does nothing where it was run before.
///
/// Text is kept as its bytes: two texts are the same where their bytes are, in every locale, and PostgreSQL knows no text
/// with a zero in it.
pub(crate) fn tables(dialect: Dialect, schema: Option<&str>) -> Vec<Statement> {
    let (bytes, counter, all_key) = (dialect.bytes(), dialect.counter(), dialect.all_key());
    let mut statements = Vec::new();
    if dialect == Dialect::Postgres {
        // Whoever comes second waits here until the first has committed. The number stands for "fleche".
        statements.push("SELECT pg_advisory_xact_lock(112615676672869)".to_owned());
        // Who may not make schemas may use one that there is; `IF NOT EXISTS` asks for the right before it looks.
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
        // Numbers count up, so that what is new comes last in most indices, and their pages are written together.
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
        // Values that compress well are better compressed before they come here; then their length is known at once.
        statements.push("ALTER TABLE fleche_values ALTER COLUMN bytes SET STORAGE EXTERNAL".to_owned());
    }
    statements.into_iter().map(Statement::new).collect()
}
