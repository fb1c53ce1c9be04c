//! Stores opened with rights to read only.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use fleche_core::{CallStore, Digest, Error, ValueStore, claim::Claim};
use fleche_store_sql::{SqlCalls, SqlValues};
use sqlx::{Connection as _, PgConnection, raw_sql};

use super::common::{Scratch, key, record};

/// The stores answer, and refuse whatever would change them.
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
fn a_file_that_cannot_be_written_to_is_read() {
    let scratch = Scratch::sqlite();
    filled(&scratch);
    let root = scratch.directory.path();
    set_mode(&root.join("test.db"), 0o444);
    if fs::File::options().write(true).open(root.join("test.db")).is_ok() {
        eprintln!("this user may write to every file: nothing is tested");
        return;
    }
    for mode in [0o755, 0o555] {
        set_mode(root, mode);
        assert_read_only(&scratch.open_values(), &scratch.open_calls());
        set_mode(root, 0o755);
    }
}

#[test]
#[ignore = "needs a server: cargo xtask postgres"]
fn a_role_that_may_only_select_reads() {
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
    assert!(error.to_string().contains("may not make them"), "{error}");
}
