//! Tests that configurations in the documentation work.

use std::{fs, path::Path};

use fleche_core::config::{CONFIG_FILE, ConfigFile};

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
