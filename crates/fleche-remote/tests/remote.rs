//! Tests of remote stores over the program `fleche-serve`: configurations, trust, and servers that end.

use std::{fs, path::Path};

use fleche_core::{
    Cache, CallKey, CallStore, Digest, Error, Record, ValueStore,
    config::CacheConfig,
    fleche,
    store::{CallStoreConfig, ValueStoreConfig},
};
use fleche_remote::RemoteConfig;

const SERVE: &str = env!("CARGO_BIN_EXE_fleche-serve");

/// Returns a command that serves file stores in this directory. It appends a line to `starts` each time it starts.
fn command(directory: &Path, more: &str) -> [String; 2] {
    let config = directory.join("served.toml");
    let store = |kind: &str| format!("{kind} = {{ type = \"file\", root = \"{kind}\" }}");
    fs::write(&config, format!("[cache.served]\n{}\n{}\n", store("values"), store("calls"))).unwrap();
    let at = directory.display();
    let script =
        format!("echo $$ >> '{at}/starts'; FLECHE_CONFIG='{at}/served.toml' exec '{SERVE}' --cache served {more}");
    ["-c".to_owned(), script]
}

fn served(directory: &Path) -> RemoteConfig {
    RemoteConfig::command("sh", command(directory, ""))
}

fn starts(directory: &Path) -> Vec<i32> {
    let text = fs::read_to_string(directory.join("starts")).unwrap_or_default();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

#[fleche]
fn doubled(x: i64) -> i64 {
    2 * x
}

#[test]
fn call_is_a_hit_through_another_connection() {
    let directory = tempfile::tempdir().unwrap();
    let cache = served(directory.path()).cache().unwrap();
    assert_eq!(cache.scope(|| doubled(4)), 8);
    drop(cache);
    let cache = served(directory.path()).cache().unwrap();
    assert_eq!(cache.scope(|| doubled(4)), 8);
    assert_eq!((cache.stats().hits, cache.stats().misses), (1, 0));
    assert_eq!(starts(directory.path()).len(), 2);
}

#[test]
fn connection_opens_when_it_is_needed_and_both_stores_share_it() {
    let directory = tempfile::tempdir().unwrap();
    let cache = served(directory.path()).cache().unwrap();
    assert!(starts(directory.path()).is_empty());
    assert_eq!(cache.scope(|| (1..10).map(doubled).sum::<i64>()), 90);
    assert_eq!(starts(directory.path()).len(), 1);
}

#[test]
fn server_that_is_killed_is_started_again() {
    let directory = tempfile::tempdir().unwrap();
    let config = served(directory.path());
    let (values, calls) = (ValueStoreConfig::open(&config).unwrap(), CallStoreConfig::open(&config).unwrap());
    let bytes = b"\x01";
    let (id, key) = (Digest::hash(bytes), CallKey::from(Digest::hash(b"call")));
    values.put(&id, bytes).unwrap();
    let claim = calls.claim(&key).unwrap();
    let fleche_core::claim::Claim::Held(claim) = claim else { panic!("the claim is free") };
    assert!(!claim.is_expired());
    let kill = |server: i32| {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(server), nix::sys::signal::Signal::SIGKILL).unwrap();
    };
    kill(starts(directory.path())[0]);
    // An operation may fail before the end of the connection is noticed; the next one connects again.
    let found = values.get(&id).or_else(|_| values.get(&id)).unwrap();
    assert_eq!(found.as_deref(), Some(&bytes[..]));
    assert!(claim.is_expired());
    assert_eq!(starts(directory.path()).len(), 2);
    // The claim was released with its connection.
    assert!(matches!(calls.claim(&key).unwrap(), fleche_core::claim::Claim::Held(_)));
}

#[test]
fn calls_run_while_the_server_cannot_be_reached() {
    for command in [vec!["false"], vec!["echo", "hello"], vec!["/nonexistent/program"], vec!["cat"]] {
        let (program, arguments) = command.split_first().unwrap();
        let config = RemoteConfig::command(*program, arguments.iter().copied());
        let cache = config.cache().unwrap();
        assert_eq!(cache.scope(|| doubled(5)), 10, "{command:?}");
        let store = ValueStoreConfig::open(&config).unwrap();
        let error = store.contains(&Digest::hash(b"")).unwrap_err().report().to_string();
        assert!(error.contains("cannot be reached") && error.contains(program), "{error}");
    }
}

#[test]
fn text_that_names_a_command_starts_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let ran = directory.path().join("ran");
    let text = format!(
        r#"{{"values":{{"type":"remote","command":["touch","{0}"]}},"calls":{{"type":"remote","command":["touch","{0}"]}}}}"#,
        ran.display()
    );
    let config: CacheConfig = serde_json::from_str(&text).unwrap();
    let Err(error) = config.open() else { panic!("the store was opened") };
    assert!(matches!(error, Error::Config { .. }));
    let error = error.report().to_string();
    assert!(error.contains("touch") && error.contains("fleche.toml"), "{error}");
    // The text is kept as it is.
    assert!(serde_json::to_string(&config).unwrap().contains("touch"));
    assert!(!ran.exists());
}

#[test]
fn text_refers_to_a_command_of_the_program_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let cache = served(directory.path()).cache().unwrap();
    assert_eq!(cache.scope(|| doubled(6)), 12);
    let text = serde_json::to_string(&cache.config()).unwrap();
    assert!(!text.contains("served"), "{text}");
    let reopened: CacheConfig = serde_json::from_str(&text).unwrap();
    let reopened = reopened.open().unwrap();
    assert_eq!(reopened.scope(|| doubled(6)), 12);
    assert_eq!(reopened.stats().hits, 1);
    assert_eq!(starts(directory.path()).len(), 1);
}

#[test]
fn read_only_server_refuses_to_store() {
    let directory = tempfile::tempdir().unwrap();
    let config = RemoteConfig::command("sh", command(directory.path(), "--read-only"));
    let store = ValueStoreConfig::open(&config).unwrap();
    let error = store.put(&Digest::hash(b"x"), b"x").unwrap_err().report().to_string();
    assert!(error.contains("read only"), "{error}");
    assert!(!store.contains(&Digest::hash(b"x")).unwrap());
}

#[fleche]
fn repeated(x: i64) -> String {
    x.to_string().repeat(1000)
}

#[test]
fn result_arrives_with_its_record() {
    let directory = tempfile::tempdir().unwrap();
    let cache = served(directory.path()).cache().unwrap();
    cache.scope(|| repeated(7));
    let key = cache.scope(|| repeated::key(7));
    let summary = cache.calls().summary(&key).unwrap().unwrap();
    let id = *summary.result.stored().unwrap();
    // The server no longer has the value, but the client has received it.
    fs::remove_dir_all(directory.path().join("values")).unwrap();
    assert!(cache.values().get(&id).unwrap().is_some());
    assert!(cache.values().get(&id).unwrap_or_default().is_none());
    let record: Option<Record> = cache.calls().get(&key).unwrap();
    assert_eq!(record.unwrap().result, summary.result);
}

/// Configuration files are read by programs, so these tests run `fleche-serve` as one: it serves what another one serves.
#[test]
fn configuration_file_names_commands() {
    let directory = tempfile::tempdir().unwrap();
    let inner = command(directory.path(), "");
    let quoted = |text: &String| toml::Value::String(text.clone()).to_string();
    let list = format!("[\"sh\", {}, {}]", quoted(&inner[0]), quoted(&inner[1]));
    let by_name = format!(
        "[cache.outer]\nvalues = {{ type = \"remote\", name = \"inner\" }}\ncalls = {{ type = \"remote\", name = \"inner\" }}\n\
         [remote.inner]\ncommand = {list}\ntimeout = \"20s\"\n"
    );
    let direct = format!(
        "[cache.outer]\nvalues = {{ type = \"remote\", command = {list} }}\ncalls = {{ type = \"remote\", command = {list} }}\n"
    );
    for (at, text) in [by_name, direct].into_iter().enumerate() {
        let file = directory.path().join("outer.toml");
        fs::write(&file, text).unwrap();
        let config = format!("FLECHE_CONFIG={}", file.display());
        let cache: Cache = RemoteConfig::command("env", [&config, SERVE, "--cache", "outer"]).cache().unwrap();
        let (x, expected) = (100 + i64::try_from(at).unwrap(), at + 1);
        assert_eq!(cache.scope(|| doubled(x)), 2 * x);
        assert_eq!((cache.stats().misses, cache.stats().faults), (1, 0));
        drop(cache);
        assert_eq!(starts(directory.path()).len(), expected);
        let kept = fs::read_dir(directory.path().join("calls")).unwrap().count();
        assert!(kept > 0);
    }
}
