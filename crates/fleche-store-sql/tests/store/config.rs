//! Tests of configurations: their text, paths, and secrets.

use std::{fs, net::TcpListener, path::Path, time::Duration};

use fleche_core::{
    CacheConfig, CallStore, Error,
    store::{CallStoreConfig, Reach, ValueStoreConfig},
};
use fleche_store_sql::{SqlCalls, SqlCallsConfig, SqlValues, SqlValuesConfig};

use super::common::{Scratch, key, record};

/// The URL of a server that does not exist.
const UNREACHABLE: &str = "postgres://me:s3cret@127.0.0.1:1/db";

#[test]
fn configuration_reads_as_documented() {
    let config: Box<dyn CallStoreConfig> = toml::from_str(
        "type = 'sql'\nurl = 'postgres://me@host/results'\npassword_env = 'FLECHE_SQL_PASSWORD'\nschema = 'alloys'",
    )
    .unwrap();
    let expected =
        SqlCallsConfig::new("postgres://me@host/results").password_env("FLECHE_SQL_PASSWORD").schema("alloys");
    let expected: Box<dyn CallStoreConfig> = Box::new(expected);
    assert!(*config == *expected);
    assert_eq!(config.reach(), Reach::Shared);
    let timeout: SqlCallsConfig = serde_json::from_str(r#"{"url":"sqlite:a.db","timeout":"1m 30s"}"#).unwrap();
    assert_eq!(timeout.timeout, Duration::from_secs(90));
    assert_eq!(serde_json::to_string(&timeout).unwrap(), r#"{"url":"sqlite:a.db","timeout":"1m 30s"}"#);
    assert_eq!(SqlCallsConfig::new("sqlite:a.db").timeout, Duration::from_secs(5));
    for odd in ["0s", "soon"] {
        let error = serde_json::from_value::<SqlCallsConfig>(serde_json::json!({"url": "sqlite:a.db", "timeout": odd}));
        assert!(error.unwrap_err().to_string().contains("is not a timeout"));
    }
    let plain: Box<dyn ValueStoreConfig> = Box::new(SqlValuesConfig::new("sqlite:a.db"));
    assert_eq!(serde_json::to_string(&plain).unwrap(), r#"{"type":"sql","url":"sqlite:a.db"}"#);
    let unknown = serde_json::from_str::<SqlCallsConfig>(r#"{"url":"sqlite:a.db","path":"b"}"#).unwrap_err();
    assert!(unknown.to_string().contains("path"), "{unknown}");
}

#[test]
fn password_appears_in_no_text() {
    let (values, calls) = (SqlValuesConfig::new(UNREACHABLE), SqlCallsConfig::new(UNREACHABLE));
    let boxed: Box<dyn CallStoreConfig> = Box::new(calls.clone());
    let errors = [SqlValues::open(UNREACHABLE).unwrap_err(), SqlCalls::open(UNREACHABLE).unwrap_err()];
    let errors = errors.iter().map(|error| format!("{error} {error:?}"));
    let texts = [
        format!("{values:?} {calls:?} {boxed:?}"),
        serde_json::to_string(&boxed).unwrap(),
        toml::to_string(&values).unwrap(),
    ];
    for text in texts.into_iter().chain(errors) {
        assert!(!text.contains("s3cret"), "{text}");
        assert!(text.contains("me:***@127.0.0.1"), "{text}");
    }
}

#[test]
fn opening_a_configuration_with_a_removed_password_fails_with_advice() {
    let text = serde_json::to_string(&SqlCallsConfig::new(UNREACHABLE)).unwrap();
    let error = serde_json::from_str::<SqlCallsConfig>(&text).unwrap().open().unwrap_err();
    assert!(matches!(error, Error::Config { .. }) && error.to_string().contains("`password_env`"), "{error}");
}

#[test]
fn missing_password_variable_is_named_in_the_error() {
    let config = SqlCallsConfig::new("postgres://me@127.0.0.1:1/db").password_env("FLECHE_NO_SUCH_VARIABLE");
    let error = config.open().unwrap_err();
    assert!(error.to_string().contains("`FLECHE_NO_SUCH_VARIABLE`"), "{error}");
}

#[test]
fn configuration_cannot_read_or_send_other_environment_variables() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    server.set_nonblocking(true).unwrap();
    let text = format!(
        r#"{{"type":"sql","url":"postgres://x@{}/d","password_env":"CARGO_MANIFEST_DIR"}}"#,
        server.local_addr().unwrap()
    );
    // Cargo sets this variable for tests.
    for text in [&*text, r#"{"type":"sql","url":"$CARGO_MANIFEST_DIR"}"#] {
        let config: Box<dyn CallStoreConfig> = serde_json::from_str(text).unwrap();
        let error = format!("{0} {0:?}", config.open().unwrap_err());
        assert!(error.contains("`FLECHE_`") && !error.contains(env!("CARGO_MANIFEST_DIR")), "{error}");
    }
    assert!(server.accept().is_err(), "nothing may connect to the server");
}

#[test]
fn settings_that_the_database_lacks_are_refused() {
    let scratch = Scratch::sqlite();
    let error = scratch.calls.clone().schema("s").open().unwrap_err();
    assert!(error.to_string().contains("remove `schema`"), "{error}");
    for schema in ["", "Upper", "1st", "a-b", "pg_mine", "a; DROP SCHEMA public", &"a".repeat(64)] {
        let error = SqlCallsConfig::new("postgres://me@127.0.0.1:1/db").schema(schema).open().unwrap_err();
        assert!(matches!(&error, Error::Config { why, .. } if why.contains(&format!("`{schema}`"))), "{error}");
    }
    for url in ["mysql://host/db", "test.db", "sqlite::memory:"] {
        let error = SqlCalls::open(url).unwrap_err();
        assert!(matches!(error, Error::Config { .. }) && error.to_string().contains(url), "{error}");
    }
}

#[test]
fn spellings_of_one_path_are_one_store() {
    let scratch = Scratch::sqlite();
    let root = scratch.directory.path();
    fs::create_dir(root.join("a")).unwrap();
    let spellings = [
        format!("sqlite:{}/a/../test.db", root.display()),
        format!("sqlite://{}/test.db", root.display()),
        format!("sqlite:{}/link.db", root.display()),
    ];
    let calls = scratch.open_calls();
    std::os::unix::fs::symlink(root.join("test.db"), root.join("link.db")).unwrap();
    for url in spellings {
        assert_eq!(SqlCalls::open(url).unwrap().identity(), calls.identity());
    }
    let other = SqlCalls::open(format!("sqlite:{}/other.db", root.display())).unwrap();
    assert_ne!(other.identity(), calls.identity());
}

#[test]
fn symbolic_links_in_place_of_sqlite_files_are_refused() {
    let scratch = Scratch::sqlite();
    let root = scratch.directory.path();
    fs::write(root.join("victim"), "precious").unwrap();
    for ending in ["-wal", "-shm", "-journal"] {
        let planted = root.join(format!("planted.db{ending}"));
        std::os::unix::fs::symlink(root.join("victim"), &planted).unwrap();
        let error = SqlCalls::open(format!("sqlite:{}/planted.db", root.display())).unwrap_err().report().to_string();
        assert!(error.contains(planted.to_str().unwrap()) && error.contains("symbolic link"), "{error}");
        assert_eq!(fs::read(root.join("victim")).unwrap(), b"precious");
        fs::remove_file(planted).unwrap();
    }
    SqlCalls::open(format!("sqlite:{}/planted.db", root.display())).unwrap();
}

#[test]
fn relative_path_is_resolved_against_the_configuration_file() {
    let scratch = Scratch::sqlite();
    let mut config = SqlCallsConfig::new("sqlite:deep/er/cache.db");
    config.resolve(scratch.directory.path());
    let calls = SqlCalls::open_with(&config).unwrap();
    calls.put(&key(1), &record(1)).unwrap();
    assert!(scratch.directory.path().join("deep/er/cache.db").is_file());
    let text = serde_json::to_string(&calls.config()).unwrap();
    let path = format!("{}/deep/er/cache.db", scratch.directory.path().display());
    assert!(text.contains(&path) && Path::new(&path).is_absolute(), "{text}");
}

#[test]
fn unknown_type_for_a_database_suggests_a_working_configuration() {
    for (name, url) in [("sqlite", "sqlite:"), ("sql-sqlite", "sqlite:"), ("postgresql", "$FLECHE_POSTGRES")] {
        let text = format!("values = {{ type = '{name}', url = 'x' }}\ncalls = {{ type = 'void' }}");
        let error = toml::from_str::<CacheConfig>(&text).unwrap_err().to_string();
        let (_, example) = error.split_once("did you mean `").unwrap_or_else(|| panic!("{error}"));
        let (example, _) = example.split_once('`').unwrap();
        assert!(example.contains(url), "{error}");
        toml::from_str::<CacheConfig>(&format!("values = {example}\ncalls = {example}")).unwrap();
    }
}
