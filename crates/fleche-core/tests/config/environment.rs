//! Tests of `Cache::from_environment` and of programs that enter no cache.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use fleche_core::{
    CacheConfig,
    config::{CONFIG_FILE, ConfigFile},
    layer::Void,
    register_backend,
    store::{Reach, StorePair},
};
use tempfile::TempDir;

use super::child::{BLOCKED, Child, home};

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
fn unknown_cache_name_is_an_error_with_known_names_and_the_files() {
    let directory = with_config(&format!("[cache.mine]\n{FILE}"));
    let said = Child::new("misspelt name", directory.path()).run();
    let file = directory.path().join(CONFIG_FILE).display().to_string();
    for part in ["no cache `mien`; did you mean `mine`?", "Known caches: `mine`, `memory`, `void`", &file] {
        assert!(said.after("error").contains(part), "{}", said.stdout);
    }
}

#[test]
fn unknown_setting_is_reported_without_blank_lines() {
    let misspelt = with_config(&format!("[cache.mine]\n{}", FILE.replacen("root", "rot", 1)));
    let error = ConfigFile::find(misspelt.path()).unwrap_err().to_string();
    assert!(error.contains("unknown field `rot`") && !error.ends_with('\n'), "{error:?}");
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

/// Returns the TOML blocks in a document that name caches.
fn configurations(document: &str) -> Vec<String> {
    let blocks = document.split("```toml\n").skip(1).filter_map(|block| block.split("```").next());
    blocks.filter(|block| block.contains("[cache.")).map(str::to_owned).collect()
}

#[test]
fn configuration_in_the_readme_names_a_cache_inside_the_project() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let texts = configurations(&fs::read_to_string(readme).unwrap());
    let [text] = &texts[..] else { panic!("the README must contain exactly one configuration") };
    let project = tempfile::tempdir().unwrap();
    fs::write(project.path().join(CONFIG_FILE), format!("root = true\n{text}")).unwrap();
    let found = ConfigFile::find(project.path()).unwrap();
    let described = format!("{:?}", found.caches.values().next().unwrap());
    assert!(described.contains(project.path().join(".fleche").to_str().unwrap()), "{described}");
}

register_backend! {
    name: "kept-nowhere",
    summary: "a variant of a backend whose type has another name",
    reach: Reach::Shared,
    durable: false,
    scratch: nowhere,
}

fn nowhere(_: &Path) -> StorePair {
    (Box::new(Void), Box::new(Void))
}

fn error(values: &str) -> String {
    let text = format!("values = {values}\ncalls = {{ type = \"void\" }}");
    toml::from_str::<CacheConfig>(&text).unwrap_err().to_string()
}

#[test]
fn unknown_type_error_suggests_a_known_one() {
    for (values, says) in [
        (r#"{ type = "flie", root = "x" }"#, "did you mean `file`?"),
        (r#"{ type = "read_only", store = { type = "void" } }"#, "did you mean `read-only`?"),
        // For a backend that is a variant of a type, the suggestion is a whole configuration.
        (r#"{ type = "nowhere" }"#, r#"did you mean `{ type = "void" }`?"#),
        (r#"{ type = "kept-nowhere" }"#, r#"did you mean `{ type = "void" }`?"#),
        (r#"{ type = "rdb" }"#, "Add `use fleche_store_redb as _;` to the program"),
        (r#"{ type = "sqlite" }"#, "Add `use fleche_store_sql as _;` to the program"),
        (r#"{ type = "of-another-author" }"#, "Add `use fleche_store_… as _;` to the program"),
        (r#"{ type = "stack", stores = [{ type = "flie", root = "x" }] }"#, "did you mean `file`?"),
    ] {
        let error = error(values);
        assert!(error.contains(says) && error.contains("Known types: ") && error.contains("`void`"), "{error}");
    }
}

#[test]
fn compressed_without_its_feature_names_the_feature() {
    if !cfg!(feature = "zstd") {
        let error = error(r#"{ type = "compressed", store = { type = "file", root = "x" } }"#);
        assert!(error.contains("feature `zstd` of fleche-core"), "{error}");
    }
}

#[test]
fn unknown_setting_is_not_reported_as_an_unknown_type() {
    let error = error(r#"{ type = "file", root = "x", durability = "alwys" }"#);
    assert!(error.contains("`alwys`") && error.contains("`always`") && !error.contains("Known types"), "{error}");
}
