//! Tests of stores that are opened with read-only access.

use std::{env, fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use fleche_conformance::give_up_root;
use fleche_core::{CallStore, Digest, Error, ValueStore, claim::Claim};
use fleche_store_sql::{SqlCalls, SqlCallsConfig, SqlValues, SqlValuesConfig};
use sqlx::{Connection as _, PgConnection, raw_sql};

use super::common::{Scratch, key, record};

/// Asserts that the stores can be read and refuse all changes.
fn assert_read_only(values: &SqlValues, calls: &SqlCalls) {
    let digest = Digest::of(b"a value");
    assert_eq!(calls.get(&key(1)).unwrap(), Some(record(1)));
    assert_eq!(values.get(&digest).unwrap().as_deref(), Some(&b"a value"[..]));
    assert_eq!(calls.owner(&key(1)).unwrap(), None);
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
    scratch.open_values().put(&Digest::of(b"a value"), b"a value").unwrap();
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
            .args(["--exact", "store::rights::reader_process", "--nocapture"])
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
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = PgConnection::connect(&url).await.unwrap();
        raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    });
    let (_, host) = url.split_once('@').unwrap();
    let (mut values, mut calls) = (scratch.values.clone(), scratch.calls.clone());
    values.url = format!("postgres://reader_{schema}@{host}").into();
    calls.url = values.url.clone();
    assert_read_only(&SqlValues::open_with(&values).unwrap(), &SqlCalls::open_with(&calls).unwrap());
    let error = SqlCalls::open_with(&calls.schema(format!("{schema}_none"))).unwrap_err();
    assert!(error.to_string().contains("may not create them"), "{error}");
}
