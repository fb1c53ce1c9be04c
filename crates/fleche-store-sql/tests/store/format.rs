//! Tests of the content of SQLite files: it is the same as that which earlier versions of the stores wrote, so each
//! version reads the files of the other.

use std::{collections::BTreeMap, fmt::Write as _, fs};

use fleche_core::{CallStore, Digest, Query, Record, ValueStore, encoding::Encoded};
use rusqlite::Connection;

use super::common::{Scratch, argument, fields, key};

/// The content of a database that a version with another database driver wrote. `FLECHE_WRITE_GOLDEN=1` writes it anew,
/// which is only right after a deliberate change of the format.
const GOLDEN: &str = include_str!("golden.sql");

const VALUE: &[u8] = b"a value";

/// Returns a record with two arguments and two fields of metadata.
fn tagged() -> Record {
    let mut fields = fields(7);
    fields.arguments.push(argument("other", 1 << 20));
    fields.metadata.insert("tags", Encoded::encode(&BTreeMap::from([("project", "alloy"), ("run", "7")])).unwrap());
    Record::new(fields)
}

fn fill(scratch: &Scratch) {
    let (values, calls) = (scratch.open_values(), scratch.open_calls());
    values.put(&Digest::hash(VALUE), VALUE).unwrap();
    calls.put(&key(1), &tagged()).unwrap();
    // Replaces a record with itself, which keeps its number.
    calls.put(&key(1), &tagged()).unwrap();
    calls.put(&key(2), &Record::new(fields(2))).unwrap();
}

/// Returns the statements that create the tables and rows of the database. Times of `put` are written as 0.
fn dump(connection: &Connection) -> String {
    let names = "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name LIKE 'fleche%'
        ORDER BY type = 'index', name";
    let mut names = connection.prepare(names).unwrap();
    let names = names.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let names: Vec<(String, String)> = names.map(Result::unwrap).collect();
    let mut text = String::new();
    for (_, sql) in &names {
        writeln!(text, "{sql};").unwrap();
    }
    for (name, _) in names.iter().filter(|(_, sql)| sql.starts_with("CREATE TABLE")) {
        let rows = connection.prepare(&format!("SELECT * FROM {name}")).unwrap();
        let quoted = |column: &&str| if *column == "put" { "'0'".to_owned() } else { format!("quote({column})") };
        let quoted: Vec<_> = rows.column_names().iter().map(quoted).collect();
        let rows = format!("SELECT {} FROM {name}", quoted.join(" || ', ' || "));
        let mut rows = connection.prepare(&rows).unwrap();
        let rows = rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap);
        let mut lines: Vec<_> = rows.map(|row: String| format!("INSERT INTO {name} VALUES ({row});")).collect();
        lines.sort();
        for line in lines {
            writeln!(text, "{line}").unwrap();
        }
    }
    text
}

#[test]
fn written_files_are_as_before() {
    let scratch = Scratch::sqlite();
    fill(&scratch);
    let file = Connection::open(scratch.directory.path().join("test.db")).unwrap();
    let dumped = dump(&file);
    if std::env::var_os("FLECHE_WRITE_GOLDEN").is_some() {
        fs::write("tests/store/golden.sql", &dumped).unwrap();
    }
    assert!(dumped == GOLDEN, "{dumped}");
    assert_eq!(file.query_row("PRAGMA journal_mode", [], |row| row.get::<_, String>(0)).unwrap(), "wal");
    assert_eq!(file.query_row("PRAGMA page_size", [], |row| row.get::<_, i64>(0)).unwrap(), 4096);
}

#[test]
fn files_of_earlier_versions_are_read_and_continued() {
    let scratch = Scratch::sqlite();
    let path = scratch.directory.path().join("test.db");
    Connection::open(&path).unwrap().execute_batch(GOLDEN).unwrap();
    let (values, calls) = (scratch.open_values(), scratch.open_calls());
    assert_eq!(values.get(&Digest::hash(VALUE)).unwrap().as_deref(), Some(VALUE));
    assert_eq!(calls.get(&key(1)).unwrap(), Some(tagged()));
    for query in [Query::new().argument("other", &(1_u32 << 20)).unwrap(), Query::new().tag("run", "7")] {
        let found: Vec<_> = calls.find(&query).unwrap().map(Result::unwrap).collect();
        assert_eq!(found, [(key(1), tagged())]);
    }
    // Writing the same entries again changes nothing.
    fill(&scratch);
    assert!(dump(&Connection::open(path).unwrap()) == GOLDEN);
}
