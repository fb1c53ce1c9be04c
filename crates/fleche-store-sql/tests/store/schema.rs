//! Tests of the tables: their version, and other content of the database.

use std::fs;

use fleche_core::{CallStore, Error};
use fleche_store_sql::{SqlCalls, SqlValues};

use super::common::{Scratch, key, record};

#[test]
fn tables_record_their_version() {
    let scratch = Scratch::sqlite();
    drop(scratch.open_calls());
    assert_eq!(scratch.number("SELECT value FROM fleche_meta WHERE name = 'schema'"), 1);
}

#[test]
fn tables_of_a_later_version_are_refused_and_left_alone() {
    let scratch = Scratch::sqlite();
    scratch.open_calls().put(&key(1), &record(1)).unwrap();
    scratch.execute("UPDATE fleche_meta SET value = 2 WHERE name = 'schema'");
    for error in [SqlCalls::open_with(&scratch.calls).unwrap_err(), SqlValues::open_with(&scratch.values).unwrap_err()]
    {
        assert!(matches!(error, Error::Config { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("version 2") && text.contains("version 1") && text.contains("test.db"), "{text}");
    }
    scratch.execute("UPDATE fleche_meta SET value = 1 WHERE name = 'schema'");
    assert_eq!(scratch.open_calls().get(&key(1)).unwrap(), Some(record(1)));
}

#[test]
fn tables_of_other_programs_are_left_alone() {
    let scratch = Scratch::sqlite();
    fs::write(scratch.directory.path().join("test.db"), b"").unwrap();
    scratch.execute("CREATE TABLE mine (number INTEGER)");
    scratch.execute("INSERT INTO mine VALUES (7)");
    scratch.open_calls().put(&key(1), &record(1)).unwrap();
    assert_eq!(scratch.number("SELECT number FROM mine"), 7);
}

#[test]
fn file_that_is_not_a_database_is_refused_and_left_alone() {
    let scratch = Scratch::sqlite();
    let file = scratch.directory.path().join("test.db");
    let text = "not a database, but text that is longer than the header of one ".repeat(10);
    fs::write(&file, &text).unwrap();
    let error = scratch.calls_error();
    assert!(error.to_string().contains("test.db") && error.to_string().contains("not a SQLite database"), "{error}");
    assert_eq!(fs::read_to_string(file).unwrap(), text);
}

#[test]
fn closed_store_is_a_single_file() {
    let scratch = Scratch::sqlite();
    let (calls, values) = (scratch.open_calls(), scratch.open_values());
    calls.put(&key(1), &record(1)).unwrap();
    drop((calls, values));
    let files: Vec<_> =
        fs::read_dir(scratch.directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files, ["test.db"]);
}

impl Scratch {
    fn calls_error(&self) -> Error {
        SqlCalls::open_with(&self.calls).expect_err("opening must fail")
    }
}
