//! Recovery: copies the readable entries of a damaged database to a new one.

use std::{
    ops::RangeInclusive,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use fleche_core::{
    CallKey, Digest, Error, Record, Result,
    store::kit::{Direction, StoreName, read_around_damage},
};
use rusqlite::{
    Connection, ErrorCode, Row, params,
    types::{ToSqlOutput, ValueRef},
};

use super::{
    execute,
    files::{FileBytes, first_page, foreign_table_in, is_own_table},
};
use crate::{
    error::sqlite_code,
    indexed::insertion,
    schema::{self, LEASE_TTL, millis},
    statement::Dialect,
};

/// The maximum row number; larger ones come from damage.
const LAST: i64 = i64::MAX / 2;

/// The numbers of recovered entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Recovered {
    pub(crate) values: usize,
    pub(crate) records: usize,
    pub(crate) leases: usize,
    /// The number of rows of `fleche_damaged`.
    pub(crate) quarantined: usize,
}

/// Creates a database with empty tables.
pub(crate) fn create(path: &Path) -> rusqlite::Result<()> {
    let connection = open_unsafe(path)?;
    for statement in schema::tables(Dialect::Sqlite, None) {
        execute::run(&connection, &statement)?;
    }
    connection.execute_batch("COMMIT")
}

/// Opens a database and begins a transaction. The file is useless until it is complete, so a crash may damage it.
fn open_unsafe(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN")?;
    Ok(connection)
}

/// Fills an empty database with the readable entries in a copy of a damaged one; the copy is modified. Entries are not verified
/// here, but when they are read.
///
/// # Errors
/// Fails with [`Error::Config`] if the database has tables of other programs or of a later version of fleche; otherwise
/// with the error of the new database.
pub(crate) fn recover(copy: &Path, fresh: &Path, store: &StoreName) -> Result<Recovered> {
    let failed = || store.backend::<rusqlite::Error>();
    let to = open_unsafe(fresh).map_err(failed())?;
    let mut from = open(copy).map_err(failed())?;
    if let Some(other) = other_table(&from) {
        return Err(would_be_lost(store, &other));
    }
    if !has_sound_tables(&from) {
        drop(from);
        // All databases of fleche begin with the same page, unless they were vacuumed. Rows that are read through this
        // page from the wrong pages are sorted out here or when they are read.
        FileBytes::open_copy(copy)?.replace_first(&first_page(fresh)?)?;
        from = open(copy).map_err(failed())?;
    }
    let version = "SELECT value FROM fleche_meta WHERE name = 'schema'";
    if let Ok(version @ schema::VERSION..) = from.query_row(version, [], |row| row.get::<_, i64>(0))
        && version != schema::VERSION
    {
        let why = format!("its tables have version {version}: use the version of fleche that created them");
        return Err(store.config(why));
    }
    let recovered = bring_over(&from, &to).map_err(failed())?;
    to.execute_batch("COMMIT").map_err(failed())?;
    Ok(recovered)
}

/// Returns whether the definitions of fleche's tables can be read and have the expected columns, regardless of the content
/// of the tables.
pub(crate) fn has_sound_tables(connection: &Connection) -> bool {
    let found = [
        ("fleche_meta", "name, value"),
        ("fleche_arguments", "call, name, reference"),
        ("fleche_metadata", "call, kind, name, value"),
    ];
    let copied = [VALUES, CALLS, LEASES, QUARANTINED].map(|Copied { table, columns, .. }| (table, columns));
    let mut tables = found.into_iter().chain(copied);
    tables.all(|(table, columns)| match connection.prepare(&format!("SELECT {columns} FROM {table}")) {
        // An unknown table, or damage. Other errors do not concern the definitions.
        Err(error) => !matches!(
            sqlite_code(&error),
            Some(ErrorCode::Unknown | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        ),
        Ok(_) => true,
    })
}

/// Opens a connection that reads as much as possible.
fn open(copy: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(copy)?;
    // Makes SQLite read a truncated file.
    connection.pragma_update(None, "writable_schema", true)?;
    Ok(connection)
}

/// A table whose rows are copied.
#[derive(Clone, Copy)]
struct Copied {
    table: &'static str,
    columns: &'static str,
    /// The types of the columns: `n` for a number that counts up, `i` for any other number, `t` for text, `k` for a
    /// digest, `b` for bytes, `B` for bytes or `NULL`.
    types: &'static str,
}

const VALUES: Copied = Copied { table: "fleche_values", columns: "id, put, bytes", types: "kib" };
const CALLS: Copied =
    Copied { table: "fleche_calls", columns: "number, key, function, version, written, record", types: "nkbiib" };
const LEASES: Copied =
    Copied { table: "fleche_leases", columns: "number, key, until, host, process, since, awaits", types: "nkibiiB" };
const QUARANTINED: Copied =
    Copied { table: "fleche_damaged", columns: "number, origin, key, bytes, why, noticed", types: "ntbbbi" };

/// Returns a table of another program, if there is one, as far as names and definitions can be read. Both the name and
/// the definition must differ from fleche's.
fn other_table(connection: &Connection) -> Option<String> {
    let mut tables = connection.prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'table'").ok()?;
    let tables = tables.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).ok()?;
    let mut tables = tables.map_while(Result::ok).filter(|(name, _): &(String, String)| !is_own_table(name.as_bytes()));
    tables.find_map(|(_, sql)| foreign_table_in(sql.as_bytes()))
}

/// Returns the error for a database that is not repaired because of another program's table in it.
pub(crate) fn would_be_lost(store: &StoreName, table: &str) -> Error {
    store.config(format!("it also has the table `{table}`, which would be lost"))
}

fn bring_over(from: &Connection, to: &Connection) -> rusqlite::Result<Recovered> {
    let values = copy_rows(from, to, VALUES)?;
    copy_rows(from, to, CALLS)?;
    let (records, leases, quarantined) =
        (index(from, to)?, copy_rows(from, to, LEASES)?, copy_rows(from, to, QUARANTINED)?);
    // A claim that lasts longer than a lease comes from damage, and would block other processes.
    let bogus = format!("DELETE FROM fleche_leases WHERE until > {} + ?1", Dialect::Sqlite.now());
    let leases = leases - to.execute(&bogus, [millis(LEASE_TTL)])?;
    count_on(from, to)?;
    Ok(Recovered { values, records, leases, quarantined })
}

/// Copies the rows whose columns have the right types. Returns the number of new rows.
fn copy_rows(from: &Connection, to: &Connection, copied: Copied) -> rusqlite::Result<usize> {
    let Copied { table, columns, types } = copied;
    let holders = (1..=types.len()).map(|nth| format!("?{nth}")).collect::<Vec<_>>().join(", ");
    let mut insert = to.prepare(&format!("INSERT OR IGNORE INTO {table} ({columns}) VALUES ({holders})"))?;
    let mut new = 0;
    let visit = &mut |row: &Row<'_>| {
        for (column, wanted) in types.chars().enumerate() {
            let value = row.get_ref(column)?;
            if !fits(wanted, value) {
                return Ok(());
            }
            insert.raw_bind_parameter(column + 1, ToSqlOutput::Borrowed(value))?;
        }
        new += insert.raw_execute()?;
        Ok(())
    };
    visit_rows(from, table, columns, visit)?;
    Ok(new)
}

/// Visits each row that can be read; some may be visited twice. It is unknown which rows are lost: a damaged page loses
/// all its rows.
///
/// # Errors
/// Fails with the errors of `visit`.
fn visit_rows(
    damaged: &Connection,
    table: &str,
    columns: &str,
    visit: &mut dyn FnMut(&Row<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    // The same order as that of the row numbers.
    let place = |number: i64| (i128::from(number) - i128::from(i64::MIN)).cast_unsigned();
    let number = |place: u128| i64::try_from(place.cast_signed() + i128::from(i64::MIN)).unwrap_or(i64::MAX);
    let mut read = |range: RangeInclusive<u128>, direction| {
        let (first, last) = range.into_inner();
        let (order, mut reached) = if direction == Direction::Up { ("ASC", first) } else { ("DESC", last) };
        let sql = format!(
            "SELECT {columns}, rowid FROM {table} NOT INDEXED WHERE rowid BETWEEN ?1 AND ?2 ORDER BY rowid {order}"
        );
        // Errors come from the damage.
        let Ok(mut rows) = damaged.prepare_cached(&sql) else { return Ok(Some(reached)) };
        let last_column = rows.column_count() - 1;
        let Ok(mut rows) = rows.query(params![number(first), number(last)]) else { return Ok(Some(reached)) };
        loop {
            match rows.next() {
                Ok(Some(row)) => {
                    visit(row)?;
                    reached = row.get(last_column).map_or(reached, place);
                }
                Ok(None) => return Ok(None),
                Err(_) => return Ok::<_, rusqlite::Error>(Some(reached)),
            }
        }
    };
    if read(place(i64::MIN)..=place(i64::MAX), Direction::Up)?.is_none() {
        return Ok(());
    }
    // Row numbers count from 1, so most ranges of large numbers are empty.
    let limits = [i64::MIN, 0, 1 << 16, 1 << 24, 1 << 32, 1 << 48, i64::MAX];
    for limits in limits.windows(2) {
        read_around_damage(place(limits[0])..=place(limits[1]), 1, &mut read)?;
    }
    Ok(())
}

fn fits(wanted: char, value: ValueRef<'_>) -> bool {
    match wanted {
        // Larger numbers would soon exhaust the range.
        'n' => matches!(value, ValueRef::Integer(1..=LAST)),
        'k' => matches!(value, ValueRef::Blob(bytes) if bytes.len() == 32),
        'i' => matches!(value, ValueRef::Integer(_)),
        't' => matches!(value, ValueRef::Text(text) if std::str::from_utf8(text).is_ok()),
        'B' => matches!(value, ValueRef::Blob(_) | ValueRef::Null),
        _ => matches!(value, ValueRef::Blob(_)),
    }
}

/// Creates the index rows of records from the records. Returns the number of records.
fn index(from: &Connection, to: &Connection) -> rusqlite::Result<usize> {
    let mut count = 0;
    let mut last = i64::MIN;
    // No statement reads while rows are written.
    let next = "SELECT number, key, record FROM fleche_calls WHERE number > ?1 ORDER BY number LIMIT 1";
    loop {
        let row = to.prepare_cached(next)?.query_row([last], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        let (number, key, bytes): (i64, Vec<u8>, Vec<u8>) = match row {
            Err(rusqlite::Error::QueryReturnedNoRows) => return Ok(count),
            row => row?,
        };
        (last, count) = (number, count + 1);
        let Ok(key) = <[u8; 32]>::try_from(key).map(|key| CallKey::from(Digest::from_bytes(key))) else { continue };
        match Record::from_bytes(&key, &bytes) {
            Ok(Some(record)) => {
                // A decoded record can always be encoded again.
                for statement in insertion(&key, &record, bytes).unwrap_or_default() {
                    execute::run(to, &statement)?;
                }
            }
            // Only a later version of fleche can decode this record.
            Ok(None) => {
                copy_found(from, to, "fleche_arguments", "call, name, reference", number)?;
                copy_found(from, to, "fleche_metadata", "call, kind, name, value", number)?;
            }
            // A damaged record is quarantined when it is read.
            Err(_) => {}
        }
    }
}

/// Copies the rows of one call, as far as they can be read.
fn copy_found(from: &Connection, to: &Connection, table: &str, columns: &str, call: i64) -> rusqlite::Result<()> {
    let Ok(mut rows) = from.prepare(&format!("SELECT {columns} FROM {table} WHERE call = ?1")) else { return Ok(()) };
    let count = rows.column_count();
    let holders = (1..=count).map(|nth| format!("?{nth}")).collect::<Vec<_>>().join(", ");
    let mut insert = to.prepare(&format!("INSERT OR IGNORE INTO {table} ({columns}) VALUES ({holders})"))?;
    let Ok(mut rows) = rows.query([call]) else { return Ok(()) };
    while let Ok(Some(row)) = rows.next() {
        for column in 0..count {
            insert.raw_bind_parameter(column + 1, ToSqlOutput::Borrowed(row.get_ref(column)?))?;
        }
        insert.raw_execute()?;
    }
    Ok(())
}

/// Makes new numbers larger than all earlier ones, even if the last of these cannot be read: they begin at least at the
/// number of milliseconds since the Unix epoch, which no earlier number has reached. So a claim that was granted before
/// the damage is never confused with a later one.
fn count_on(from: &Connection, to: &Connection) -> rusqlite::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let least = i64::try_from(now).unwrap_or(0);
    for table in ["fleche_calls", "fleche_leases", "fleche_damaged"] {
        let counted = "SELECT seq FROM sqlite_sequence WHERE name = ?1";
        let counted = from.query_row(counted, [table], |row| row.get::<_, i64>(0)).unwrap_or(0);
        let next = if counted <= LAST { counted.max(least) } else { least };
        to.execute("DELETE FROM sqlite_sequence WHERE name = ?1", [table])?;
        to.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)", params![table, next])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the numbers that are visited.
    fn visited(connection: &Connection, columns: &str) -> Vec<i64> {
        let mut found = Vec::new();
        let visit = &mut |row: &Row<'_>| {
            found.push(row.get::<_, i64>(0)?);
            Ok(())
        };
        visit_rows(connection, "t", columns, visit).unwrap();
        found
    }

    #[test]
    fn rows_of_a_sound_table_are_visited_once_in_order() {
        let sound = Connection::open_in_memory().unwrap();
        assert!(visited(&sound, "n").is_empty(), "there is no table");
        sound.execute_batch("CREATE TABLE t (n INTEGER PRIMARY KEY); INSERT INTO t VALUES (-5), (1), (7)").unwrap();
        assert_eq!(visited(&sound, "n"), [-5, 1, 7]);
    }

    #[test]
    fn rows_between_damaged_places_are_visited() {
        // A failing function simulates the damage.
        let damaged = Connection::open_in_memory().unwrap();
        damaged
            .execute_batch(
                "CREATE TABLE t (n INTEGER PRIMARY KEY);
                 WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 200) INSERT INTO t SELECT n FROM c",
            )
            .unwrap();
        let bad = |n: i64| (20..=31).contains(&n) || n == 50 || (150..=180).contains(&n);
        let columns = "CASE WHEN n BETWEEN 20 AND 31 OR n = 50 OR n BETWEEN 150 AND 180
            THEN abs(-9223372036854775807 - 1) ELSE n END";
        let found: std::collections::BTreeSet<_> = visited(&damaged, columns).into_iter().collect();
        assert!(found.into_iter().eq((1..=200).filter(|n| !bad(*n))));
    }
}
