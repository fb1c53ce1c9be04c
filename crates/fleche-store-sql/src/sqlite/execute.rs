//! Statements on one connection to a SQLite file.

use rusqlite::{Connection, Statement as Prepared, types::Null};

use crate::{
    error::DbError,
    row::Row,
    statement::{Parameter, Statement},
};

/// Runs the statement to its end, and calls the function with each row.
pub(crate) fn query(
    connection: &Connection,
    statement: &Statement<'_>,
    mut each: impl FnMut(Row<'_>) -> Result<(), DbError>,
) -> Result<(), DbError> {
    let mut prepared = connection.prepare_cached(&statement.sql)?;
    bind(&mut prepared, &statement.parameters)?;
    let mut rows = prepared.raw_query();
    while let Some(row) = rows.next()? {
        each(Row::Sqlite(row))?;
    }
    Ok(())
}

/// Runs the statement, whose rows are not needed.
pub(crate) fn run(connection: &Connection, statement: &Statement<'_>) -> rusqlite::Result<()> {
    let mut prepared = connection.prepare_cached(&statement.sql)?;
    bind(&mut prepared, &statement.parameters)?;
    let mut rows = prepared.raw_query();
    while rows.next()?.is_some() {}
    Ok(())
}

/// Binds the parameters. SQLite takes `$1` as a name and numbers the names as they occur, which is in the order of the
/// parameters.
fn bind(prepared: &mut Prepared<'_>, parameters: &[Parameter<'_>]) -> rusqlite::Result<()> {
    debug_assert_eq!(prepared.parameter_count(), parameters.len());
    for (index, parameter) in (1..).zip(parameters) {
        debug_assert_eq!(prepared.parameter_name(index), Some(&*format!("${index}")));
        match parameter {
            Parameter::Bytes(bytes) => prepared.raw_bind_parameter(index, &**bytes)?,
            Parameter::Integer(integer) => prepared.raw_bind_parameter(index, integer)?,
            Parameter::NoBytes => prepared.raw_bind_parameter(index, Null)?,
        }
    }
    Ok(())
}
