//! Tests of the fallback cache: a configured cache that cannot be opened, and loggers that call memoized functions.

use std::{fs, os::unix::fs::PermissionsExt as _};

use fleche_core::config::CONFIG_FILE;
use tempfile::TempDir;

use super::child::{BLOCKED, Child};

fn configured(text: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(CONFIG_FILE), text).unwrap();
    directory
}

#[test]
fn opening_the_configured_store_is_retried() {
    let store = |root| format!("{{ type = \"file\", root = \"{root}\" }}");
    let text = format!("root = true\n[cache.mine]\nvalues = {}\ncalls = {}\n", store(BLOCKED), store("calls"));
    let directory = configured(&text);
    fs::write(directory.path().join(BLOCKED), "").unwrap();
    let said = Child::new("retry", directory.path()).run();
    assert!(said.after("stand-in").contains("Memory"), "{}", said.stdout);
    // Once with the memory cache that replaced the store, and once with the store.
    assert_eq!((said.bodies(), said.stdout.matches("result 6").count()), (2, 3), "{}", said.stdout);
    assert_eq!(said.messages().len(), 1, "{}", said.stderr);
    assert!(said.messages()[0].contains("cannot be used"), "{}", said.stderr);
    assert_eq!(Child::new("call", directory.path()).run().bodies(), 0);
}

#[test]
fn logger_may_call_memoized_functions_while_the_cache_is_opened() {
    // The logger runs when the files are read, and when that has failed.
    for (text, rights) in [("root = true\n", 0o666), ("no configuration", 0o600)] {
        let directory = configured(text);
        fs::set_permissions(directory.path().join(CONFIG_FILE), fs::Permissions::from_mode(rights)).unwrap();
        let said = Child::new("logger", directory.path()).run();
        assert!(said.stdout.contains("logged 12"), "{}", said.stdout);
        assert_eq!(said.stdout.matches("result 6").count(), 2, "{}", said.stdout);
        // Only the logger's first call may run without a cache.
        assert!(said.bodies() <= 3, "{}", said.stdout);
    }
}
