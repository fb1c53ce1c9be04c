//! Prepares the tables of a database that is opened: creates missing ones, and checks their version and the access of this
//! user.

use std::borrow::Cow;

use fleche_core::{error::Report, store::kit::StoreName};

use crate::{
    driver::Driver,
    error::DbError,
    schema::{VERSION, tables},
    statement::{Dialect, Statement},
};

/// The access of this user to the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rights {
    Full,
    Read,
}

/// Creates missing tables, in this schema if one is given, and checks their version. Any number of processes may do so
/// at once. If the tables exist, only lost claims are removed from them.
///
/// # Errors
/// Fails with [`Error::Config`](fleche_core::Error::Config) if a later version of fleche created the tables, or if they
/// are missing and cannot be created.
pub(crate) fn prepare(driver: &Driver, schema: Option<&str>, store: &StoreName) -> Result<Rights, DbError> {
    let mut version = version(driver)?;
    if version.is_none_or(|version| version < VERSION) {
        match driver.write(&tables(driver.dialect(), schema)) {
            Err(failed) if failed.is_denied() => {
                let why = format!("its tables are missing, and this user may not create them ({failed})");
                return Err(DbError::Other(store.config(why)));
            }
            made => made?,
        };
        version = self::version(driver)?;
    }
    match version {
        Some(VERSION) => {
            let rights = rights(driver)?;
            if rights == Rights::Full {
                sweep(driver)?;
            }
            Ok(rights)
        }
        Some(version) => {
            let why = format!(
                "its tables have version {version}, and this version of fleche knows version {VERSION}: use the version that \
                 created them, or a later one"
            );
            Err(DbError::Other(store.config(why)))
        }
        None => {
            let why = "`fleche_meta` does not contain the version of its tables: use another database";
            Err(DbError::Other(store.config(why)))
        }
    }
}

fn rights(driver: &Driver) -> Result<Rights, DbError> {
    let may_write = match driver.dialect() {
        Dialect::Sqlite => !driver.is_read_only_file(),
        Dialect::Postgres => {
            let tables = ["fleche_values", "fleche_calls", "fleche_arguments", "fleche_metadata", "fleche_leases"];
            let tables = tables.map(|table| format!("has_table_privilege('{table}', 'INSERT')")).join(" AND ");
            let asked = format!("SELECT 1 WHERE current_setting('transaction_read_only') = 'off' AND {tables}");
            has_row(driver, asked)?
        }
    };
    Ok(if may_write { Rights::Full } else { Rights::Read })
}

/// Removes claims that expired long ago or whose times are far in the future: no process holds them. Writes only if
/// there are any, so that opening does not wait for writers.
fn sweep(driver: &Driver) -> Result<(), DbError> {
    let now = driver.dialect().now();
    let lost = format!("FROM fleche_leases WHERE until < {now} - 86400000 OR until > {now} + 86400000");
    if has_row(driver, format!("SELECT 1 {lost} LIMIT 1"))?
        && let Err(error) = driver.write(&[Statement::new(format!("DELETE {lost}"))])
    {
        tracing::debug!(error = %Report::new(&error), "cannot remove claims that no process holds");
    }
    Ok(())
}

/// Returns the version of the tables, or `None` if there are none.
fn version(driver: &Driver) -> Result<Option<i64>, DbError> {
    let exists = match driver.dialect() {
        Dialect::Sqlite => "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'fleche_meta'",
        Dialect::Postgres => "SELECT 1 WHERE to_regclass('fleche_meta') IS NOT NULL",
    };
    if !has_row(driver, exists)? {
        return Ok(None);
    }
    let version = Statement::new("SELECT value FROM fleche_meta WHERE name = 'schema'");
    Ok(driver.read(&version, |row| row.integer(0))?.pop())
}

fn has_row(driver: &Driver, query: impl Into<Cow<'static, str>>) -> Result<bool, DbError> {
    Ok(!driver.read(&Statement::new(query), |_| Ok(()))?.is_empty())
}
