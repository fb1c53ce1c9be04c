//! Tests of `Cache::from_environment` and of programs that enter no cache.

use std::{fs, path::Path};

use fleche_core::config::CONFIG_FILE;
use tempfile::TempDir;

use super::child::{Child, home};

const FILE: &str = r#"
values = { type = "file", root = "store/values" }
calls = { type = "file", root = "store/calls" }
"#;

fn with_config(text: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(CONFIG_FILE), format!("root = true\n{text}")).unwrap();
    directory
}

fn error_in(directory: &Path) -> String {
    Child::new("environment", directory).run().after("error").to_owned()
}

#[test]
fn single_cache_is_the_default_and_keeps_results() {
    let directory = with_config(&format!("[cache.mine]\n{FILE}"));
    assert!(Child::new("environment", directory.path()).run().after("found").contains("store/values"));
    let bodies = [1, 0];
    for bodies in bodies {
        let said = Child::new("call", directory.path()).run();
        assert_eq!((said.bodies(), said.messages()), (bodies, vec![]));
    }
}

#[test]
fn several_caches_without_a_default_are_an_error_that_names_them() {
    let directory = with_config(&format!("[cache.one]\n{FILE}\n[cache.two]\n{FILE}"));
    let error = error_in(directory.path());
    let file = directory.path().join(CONFIG_FILE).display().to_string();
    assert!(error.contains("`one`, `two`") && error.contains("default = \"one\"") && error.contains(&file), "{error}");
    let said = Child::new("call", directory.path()).run();
    assert!(
        said.messages()[0].starts_with("fleche: error: ") && said.messages()[0].contains("`two`"),
        "{}",
        said.stderr
    );

    let directory = with_config(&format!("default = \"two\"\n[cache.one]\n{FILE}\n[cache.two]\n{FILE}"));
    assert!(Child::new("environment", directory.path()).run().after("found").contains("store/values"));
}

#[test]
fn missing_configuration_is_an_error_that_lists_searched_paths() {
    let directory = tempfile::tempdir().unwrap();
    let error = error_in(directory.path());
    let searched = directory.path().display().to_string();
    let user = home(directory.path()).join("fleche").join(CONFIG_FILE).display().to_string();
    assert!(error.contains("no cache is configured") && error.contains(&searched) && error.contains(&user), "{error}");
    // A program that only makes calls runs with a cache in memory, without a message.
    let said = Child::new("call", directory.path()).run();
    assert_eq!((said.bodies(), said.messages()), (1, vec![]));

    let error = error_in(with_config("").path());
    assert!(error.contains("names no cache"), "{error}");
    let memory = with_config("default = \"memory\"");
    assert!(Child::new("environment", memory.path()).run().after("found").contains("Memory"));
}

#[test]
fn default_cache_by_name_is_an_error_if_the_configuration_cannot_be_used() {
    let misspelt = with_config(&format!("[cache.mine]\n{}", FILE.replacen("\"file\"", "\"flie\"", 1)));
    let said = Child::new("default by name", misspelt.path()).run();
    assert_eq!(said.stdout.matches("error default cache: ").count(), 2, "{}", said.stdout);
    assert!(said.stdout.contains("did you mean `file`?"), "{}", said.stdout);
    assert_eq!((said.after("result"), said.messages().len()), ("6", 1), "{}", said.stderr);
    for (text, found) in [("default = \"memory\"".to_owned(), "Memory"), (format!("[cache.mine]\n{FILE}"), "File")] {
        let said = Child::new("default by name", with_config(&text).path()).run();
        assert_eq!(said.stdout.matches("found ").count(), 2, "{}", said.stdout);
        assert!(said.after("found").contains(found), "{}", said.stdout);
    }
}

#[test]
fn program_runs_despite_a_misspelt_store_type() {
    let directory = with_config(&format!("[cache.mine]\n{}", FILE.replacen("\"file\"", "\"flie\"", 1)));
    let error = error_in(directory.path());
    assert!(error.contains("`flie`") || error.contains(CONFIG_FILE), "{error}");
    let said = Child::new("call", directory.path()).run();
    assert_eq!((said.after("result"), said.bodies(), said.messages().len()), ("6", 1, 1), "{}", said.stderr);
    let message = said.messages()[0];
    let file = directory.path().join(CONFIG_FILE).display().to_string();
    assert!(message.starts_with("fleche: error: "), "{message}");
    assert!(message.contains("did you mean `file`?") && message.contains(&file), "{message}");
}

#[test]
fn tilde_is_the_home_directory_in_nested_stores() {
    let directory = with_config(
        r#"
        [cache.mine]
        values = { type = "stack", stores = [{ type = "file", root = "~/near" }, { type = "read-only", store = { type = "file", root = "~" } }] }
        calls = { type = "file", root = "./~/calls" }
        "#,
    );
    let said = Child::new("environment", directory.path()).run();
    let found = said.after("found");
    let home = home(directory.path());
    assert!(found.contains(&format!("{:?}", home.join("near"))) && found.contains(&format!("{home:?}")), "{found}");
    assert!(found.contains("/~/calls"), "{found}");

    let directory = with_config(&format!("[cache.mine]\n{}", FILE.replace("store/", "~ann/")));
    let error = error_in(directory.path());
    assert!(error.contains("`~ann/values`") && error.contains(CONFIG_FILE), "{error}");
}
