//! Tests of the tables: their version, tables of other programs, and limited rights to them.

use std::{env, fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use fleche_conformance::give_up_root;
use fleche_core::{CallStore, Digest, Error, ValueStore, claim::Claim};
use fleche_store_sql::{SqlCalls, SqlCallsConfig, SqlValues, SqlValuesConfig};

use super::common::{Scratch, execute_on_server, key, record};

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
    let error = error.report().to_string();
    assert!(error.contains("test.db") && error.contains("not a SQLite database"), "{error}");
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

/// Asserts that the stores can be read and refuse all changes.
fn assert_read_only(values: &SqlValues, calls: &SqlCalls) {
    let digest = Digest::hash(b"a value");
    assert_eq!(calls.get(&key(1)).unwrap(), Some(record(1)));
    assert_eq!(values.get(&digest).unwrap().as_deref(), Some(&b"a value"[..]));
    assert_eq!(calls.claim_holder(&key(1)).unwrap(), None);
    assert!(matches!(calls.claim(&key(2)).unwrap(), Claim::WithinProcess));
    let refused = [
        calls.put(&key(2), &record(2)).unwrap_err(),
        calls.remove(&key(1), None).unwrap_err(),
        values.put(&digest, b"a value").unwrap_err(),
        values.remove(&digest, None).unwrap_err(),
    ];
    for error in refused {
        assert!(matches!(error, Error::Refused { .. }), "{error:?}");
    }
    calls.sync(&key(1)).unwrap();
}

fn filled(scratch: &Scratch) {
    scratch.open_values().put(&Digest::hash(b"a value"), b"a value").unwrap();
    scratch.open_calls().put(&key(1), &record(1)).unwrap();
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn read_only_file_can_be_read() {
    let scratch = Scratch::sqlite();
    filled(&scratch);
    let root = scratch.directory.path();
    set_mode(&root.join("test.db"), 0o444);
    for mode in [0o777, 0o755, 0o555] {
        set_mode(root, mode);
        // Root may write to every file, so another user reads.
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "store::schema::reader_process", "--nocapture"])
            .env("FLECHE_READER", serde_json::to_string(&(&scratch.values, &scratch.calls)).unwrap())
            .output()
            .unwrap();
        set_mode(root, 0o755);
        assert!(child.status.success(), "with mode {mode:o}: {}", String::from_utf8_lossy(&child.stderr));
    }
}

/// Reads the stores in a child process; does nothing in the parent process.
#[test]
fn reader_process() {
    let Ok(configs) = env::var("FLECHE_READER") else { return };
    let (values, calls): (SqlValuesConfig, SqlCallsConfig) = serde_json::from_str(&configs).unwrap();
    give_up_root();
    assert_read_only(&SqlValues::open_with(&values).unwrap(), &SqlCalls::open_with(&calls).unwrap());
}

#[test]
#[ignore = "needs a server: cargo xtask postgres"]
fn role_with_only_select_can_read() {
    let scratch = Scratch::postgres();
    filled(&scratch);
    let schema = scratch.calls.schema.clone().unwrap();
    let url = std::env::var("FLECHE_POSTGRES").unwrap();
    let sql = format!(
        "CREATE ROLE reader_{schema} LOGIN; GRANT USAGE ON SCHEMA {schema} TO reader_{schema};
         GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO reader_{schema}"
    );
    execute_on_server(&sql);
    let (_, host) = url.split_once('@').unwrap();
    let (mut values, mut calls) = (scratch.values.clone(), scratch.calls.clone());
    values.url = format!("postgres://reader_{schema}@{host}").into();
    calls.url = values.url.clone();
    assert_read_only(&SqlValues::open_with(&values).unwrap(), &SqlCalls::open_with(&calls).unwrap());
    let error = SqlCalls::open_with(&calls.schema(format!("{schema}_none"))).unwrap_err();
    assert!(error.report().to_string().contains("may not create them"), "{error:?}");
}
