//! Queries as SQL: one condition is looked up in its index, the others are checked for the rows that it finds.

use fleche_core::{
    CallKey, Query, Record, Result,
    store::{Entries, kit::pages},
};

use crate::{
    error::DbError,
    indexed::{moment, name, number, value},
    list::digest,
    row::Row,
    statement::Statement,
    tables::Tables,
};

/// The number of records in a page.
const PAGE: usize = 100;

/// Returns the records that match the query.
pub(crate) fn find<'a>(tables: &'a Tables, query: &'a Query) -> Entries<'a, (CallKey, Record)> {
    let records = pages(move |after: Option<Place>| {
        let place = after.map_or_else(|| Place::first(tables, query), Ok)?;
        let rows = tables.read(&page(query, &place)?, Found::of)?;
        let next = rows.last().filter(|_| rows.len() == PAGE).map(|last| place.after(last));
        Ok((rows.iter().map(|row| record(tables, row)).collect(), next))
    });
    let wanted = |found: &Result<Option<(CallKey, Record)>>| {
        found.as_ref().map_or(true, |found| found.as_ref().is_some_and(|(_, record)| query.matches(record)))
    };
    Box::new(records.filter(wanted).filter_map(Result::transpose))
}

/// A row of a page.
struct Found {
    key: Vec<u8>,
    number: i64,
    written: i64,
    record: Vec<u8>,
}

impl Found {
    fn of(row: Row<'_>) -> Result<Self, DbError> {
        Ok(Self {
            key: row.bytes(0)?.to_vec(),
            number: row.integer(1)?,
            written: row.integer(2)?,
            record: row.bytes(3)?.to_vec(),
        })
    }
}

/// Returns the record in this row, or `None` if it has a later format or has just been removed.
fn record(tables: &Tables, Found { key, record, .. }: &Found) -> Result<Option<(CallKey, Record)>> {
    let key = CallKey::from(digest(key).map_err(|error| error.into_error(&tables.name))?);
    let record = match tables.decoded(&key, record, Record::from_bytes) {
        Ok(record) => record,
        // Read again, and quarantined.
        Err(_) => tables.record(&key, Record::from_bytes)?,
    };
    Ok(record.map(|record| (key, record)))
}

/// The start of a page: after this record.
struct Place {
    number: i64,
    written: i64,
    /// The last number and the latest time when the search began. It ends there, even if the caller puts records during
    /// the search.
    last: i64,
    latest: i64,
}

impl Place {
    fn first(tables: &Tables, query: &Query) -> Result<Self> {
        let last = "SELECT coalesce((SELECT max(number) FROM fleche_calls), 0),
            coalesce((SELECT max(written) FROM fleche_calls), 0)";
        let numbers = tables.read(&Statement::new(last), |row| Ok((row.integer(0)?, row.integer(1)?)))?;
        let (last, latest) = numbers.first().copied().unwrap_or_default();
        Ok(Self { number: 0, written: query.earliest().map_or(0, moment), last, latest })
    }

    fn after(&self, found: &Found) -> Self {
        Self { number: found.number, written: found.written, ..*self }
    }
}

/// Returns the statement for the page that begins at this place: key, number, time and record of the calls that match
/// the query, as far as the tables show. The first of these conditions selects the index: an argument, metadata, the
/// function, the version, the time.
fn page(query: &Query, place: &Place) -> Result<Statement<'static>> {
    const BY_TIME: &str = "c.written, c.number";
    const SELECT: &str = "SELECT c.key, c.number, c.written, c.record FROM";
    let mut arguments = query.arguments().iter();
    let mut fields = query.fields().iter();
    let named = query.function_name().is_some() || query.version_number().is_some();
    let by_time = query.earliest().is_some() && !named;
    // SQLite joins the tables in the written order; it has no statistics of their sizes.
    let (mut statement, order) = if let Some(argument) = arguments.next() {
        let sql = format!(
            "{SELECT} fleche_arguments AS i CROSS JOIN fleche_calls AS c
             WHERE c.number = i.call AND i.name = $1 AND i.reference = $2"
        );
        (Statement::new(sql).bytes(name(&argument.0)).bytes(value(&argument.1)?), "i.call")
    } else if let Some(field) = fields.next() {
        let sql = format!(
            "{SELECT} fleche_metadata AS i CROSS JOIN fleche_calls AS c
             WHERE c.number = i.call AND i.kind = $1 AND i.name = $2 AND i.value = $3"
        );
        let statement = Statement::new(sql).bytes(name(&field.kind)).bytes(name(&field.name));
        (statement.bytes(value(&field.value)?), "i.call")
    } else if by_time {
        let sql = format!("{SELECT} fleche_calls AS c WHERE ({BY_TIME}) > ($1, $2) AND c.written <= $3");
        (Statement::new(sql).integer(place.written).integer(place.number).integer(place.latest), BY_TIME)
    } else {
        (Statement::new(format!("{SELECT} fleche_calls AS c WHERE TRUE")), "c.number")
    };
    if order != BY_TIME {
        let at = statement.next();
        statement.push(&format!(" AND {order} > ${at} AND {order} <= ${}", at + 1));
        statement = statement.integer(place.number).integer(place.last);
    }
    for argument in arguments {
        let (at, next) = (statement.next(), statement.next() + 1);
        statement.push(&format!(
            " AND EXISTS (SELECT 1 FROM fleche_arguments AS o WHERE o.name = ${at} AND o.reference = ${next} AND o.call = c.number)"
        ));
        statement = statement.bytes(name(&argument.0)).bytes(value(&argument.1)?);
    }
    for field in fields {
        let at = statement.next();
        statement.push(&format!(
            " AND EXISTS (SELECT 1 FROM fleche_metadata AS o
               WHERE o.kind = ${at} AND o.name = ${} AND o.value = ${} AND o.call = c.number)",
            at + 1,
            at + 2
        ));
        statement = statement.bytes(name(&field.kind)).bytes(name(&field.name)).bytes(value(&field.value)?);
    }
    if let Some(function) = query.function_name() {
        statement.push(&format!(" AND c.function = ${}", statement.next()));
        statement = statement.bytes(name(function));
    }
    if let Some(version) = query.version_number() {
        statement.push(&format!(" AND c.version = ${}", statement.next()));
        statement = statement.integer(number(version));
    }
    if let Some(earliest) = query.earliest().filter(|_| order != BY_TIME) {
        statement.push(&format!(" AND c.written >= ${}", statement.next()));
        statement = statement.integer(moment(earliest));
    }
    statement.push(&format!(" ORDER BY {order} LIMIT {PAGE}"));
    Ok(statement)
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use fleche_core::call::Timestamp;

    use super::*;
    use crate::{SqlCallsConfig, database::Database};

    /// Returns SQLite's plan for the query, one line per table.
    fn plan(query: &Query, place: &Place) -> String {
        let directory = tempfile::tempdir().unwrap();
        let config = SqlCallsConfig::new(format!("sqlite:{}/db", directory.path().display()));
        let (database, _) = Database::open(config.settings()).unwrap();
        let explained = page(query, place).unwrap().explained();
        database.tables.read(&explained, |row| row.text(3)).unwrap().join("\n")
    }

    /// Asserts that each line of the plan is a search with this beginning, and that nothing is sorted.
    fn assert_plan(query: &Query, searches: &[&str]) {
        let plan = plan(query, &Place { number: 7, written: 7, last: 9, latest: 9 });
        let lines: Vec<_> = plan.lines().filter(|line| line.starts_with('S')).collect();
        assert_eq!(lines.len(), searches.len(), "{plan}");
        for (line, search) in lines.iter().zip(searches) {
            assert!(line.starts_with(&format!("SEARCH {search}")), "{line} in {plan}");
        }
        assert!(!plan.contains("SCAN") && !plan.contains("TEMP B-TREE"), "{plan}");
    }

    const CALL: &str = "c USING INTEGER PRIMARY KEY (rowid=?)";

    #[test]
    fn function_is_found_by_its_index() {
        let by_function = ["c USING INDEX fleche_calls_by_function (function=? AND number>? AND number<?)"];
        assert_plan(&Query::new().function("f"), &by_function);
        assert_plan(&Query::new().function("f").since(Timestamp(7)), &by_function);
    }

    #[test]
    fn version_is_found_by_its_index() {
        assert_plan(
            &Query::new().version(7),
            &["c USING INDEX fleche_calls_by_version (version=? AND number>? AND number<?)"],
        );
    }

    #[test]
    fn time_is_found_by_its_index() {
        let by_time = ["c USING INDEX fleche_calls_by_time (written>? AND written<?)"];
        assert_plan(&Query::new().since(Timestamp(7)), &by_time);
    }

    #[test]
    fn argument_is_found_by_the_key_of_arguments() {
        let by_argument = "i USING PRIMARY KEY (name=? AND reference=? AND call>? AND call<?)";
        let query = Query::new().argument("a", &7).unwrap();
        assert_plan(&query, &[by_argument, CALL]);
        assert_plan(&query.clone().function("f").version(7).since(Timestamp(7)), &[by_argument, CALL]);
        let other = "o EXISTS USING COVERING INDEX fleche_arguments_by_call (call=? AND name=? AND reference=?)";
        assert_plan(&query.argument("b", &7).unwrap(), &[by_argument, CALL, other]);
    }

    #[test]
    fn metadata_is_found_by_the_key_of_metadata() {
        let by_field = "i USING PRIMARY KEY (kind=? AND name=? AND value=? AND call>? AND call<?)";
        let query = Query::new().tag("project", "alloy");
        assert_plan(&query, &[by_field, CALL]);
        let other = "o EXISTS USING COVERING INDEX fleche_metadata_by_call (call=? AND kind=? AND name=? AND value=?)";
        assert_plan(&query.tag("machine", "this one"), &[by_field, CALL, other]);
    }

    #[test]
    fn every_record_is_found_by_its_number() {
        assert_plan(&Query::new(), &["c USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"]);
    }
}
