//! Rules for crates: which files they have and on what they depend.

use toml::{Table, Value};

use super::{
    source::{numbered, program},
    tree::{Complaint, Tree},
};

const STORES: &str = "fleche-store-";
const CORE: &str = "crates/fleche-core";
const SKELETON: [&str; 6] =
    ["src/lib.rs", "src/config.rs", "src/values.rs", "src/calls.rs", "src/error.rs", "tests/conformance.rs"];

pub(super) fn skeleton(tree: &Tree) -> Vec<Complaint> {
    let manifests = tree.manifests().map(|(path, _)| path.trim_end_matches("/Cargo.toml"));
    let stores = manifests.filter(|path| path.strip_prefix("crates/").is_some_and(|name| name.starts_with(STORES)));
    stores
        .flat_map(|store| SKELETON.map(|file| format!("{store}/{file}")))
        .filter(|file| tree.text(file).is_none())
        .map(|file| {
            Complaint::new(&file, None, "every store crate has this file, so that who has read one has read all")
        })
        .collect()
}

pub(super) fn dependencies(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (path, text) in tree.manifests() {
        let directory = path.trim_start_matches("crates/").trim_end_matches("/Cargo.toml");
        for Dependency { name, section, .. } in in_manifest(text) {
            let complaint = if directory.starts_with(STORES) && name.starts_with(STORES) {
                "a store crate depends on no other store crate: put what they share into core"
            } else if directory == "fleche-core"
                && (name.starts_with(STORES) || name == "fleche-exec")
                && section != "dev-dependencies"
            {
                "core depends on no store and no executor"
            } else {
                continue;
            };
            complaints.push(Complaint::new(path, None, format!("`{name}`: {complaint}")));
        }
    }
    complaints
}

pub(super) fn core_names(tree: &Tree) -> Vec<Complaint> {
    let source = format!("{CORE}/src");
    let mut complaints = Vec::new();
    for (path, text) in tree.below(&source) {
        let program = program(text);
        let named =
            numbered(&program).filter(|(_, code)| code.contains("fleche_store_") || code.contains("fleche_exec"));
        complaints.extend(named.map(|(line, _)| {
            Complaint::new(path, line, "core names no backend and no executor crate: they register themselves")
        }));
    }
    complaints
}

pub(super) fn versions(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (path, text) in tree.manifests() {
        if let Err(error) = text.parse::<Table>() {
            complaints.push(Complaint::new(path, None, format!("is no TOML: {error}")));
        }
        let own = in_manifest(text).into_iter().filter(|dependency| !dependency.from_workspace);
        complaints.extend(own.map(|Dependency { name, .. }| {
            let cure = format!("`{name}`: say `{name}.workspace = true`; versions stand in the root's Cargo.toml");
            Complaint::new(path, None, cure)
        }));
    }
    complaints
}

struct Dependency {
    name: String,
    section: &'static str,
    from_workspace: bool,
}

/// Every dependency, those for certain systems included. A manifest that is no TOML has none.
fn in_manifest(text: &str) -> Vec<Dependency> {
    let manifest: Table = text.parse().unwrap_or_default();
    let targets = manifest.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values);
    let tables: Vec<_> = targets.filter_map(Value::as_table).chain([&manifest]).collect();
    let mut dependencies = Vec::new();
    for table in tables {
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (name, value) in table.get(section).and_then(Value::as_table).into_iter().flatten() {
                let from_workspace = value.get("workspace").and_then(Value::as_bool) == Some(true);
                // A dependency may be renamed; what counts is what it is.
                let name = value.get("package").and_then(Value::as_str).unwrap_or(name).to_owned();
                dependencies.push(Dependency { name, section, from_workspace });
            }
        }
    }
    dependencies
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(complaints: &[Complaint]) -> String {
        let lines = complaints.iter().map(|complaint| format!("{}: {}", complaint.path, complaint.message));
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_store_crate_without_its_files_is_named() {
        let tree = Tree::of(&[("crates/fleche-store-x/Cargo.toml", ""), ("crates/fleche-store-x/src/lib.rs", "")]);
        let found = skeleton(&tree);
        assert_eq!(found.len(), SKELETON.len() - 1);
        assert!(found.iter().any(|complaint| complaint.path == "crates/fleche-store-x/tests/conformance.rs"));
        assert_eq!(skeleton(&Tree::of(&[("crates/fleche-exec/Cargo.toml", "")])), []);
    }

    #[test]
    fn a_store_that_depends_on_a_store_is_named_wherever_it_says_so() {
        for section in ["dependencies", "dev-dependencies", "target.'cfg(unix)'.dependencies"] {
            let manifest = format!("[{section}]\nfleche-store-b.workspace = true\nfleche-core.workspace = true\n");
            let found = messages(&dependencies(&Tree::of(&[("crates/fleche-store-a/Cargo.toml", &manifest)])));
            assert!(found.contains("`fleche-store-b`") && !found.contains("`fleche-core`"), "{section}: {found}");
        }
        let renamed = "[dependencies]\nb = { package = \"fleche-store-b\", workspace = true }\n";
        assert_eq!(dependencies(&Tree::of(&[("crates/fleche-store-a/Cargo.toml", renamed)])).len(), 1);
        assert_eq!(dependencies(&Tree::of(&[("crates/fleche-cli/Cargo.toml", renamed)])), []);
    }

    #[test]
    fn core_may_test_with_a_store_but_not_depend_on_one() {
        let core = |section| format!("[{section}]\nfleche-store-b.workspace = true\n");
        let found = |manifest: &str| dependencies(&Tree::of(&[("crates/fleche-core/Cargo.toml", manifest)])).len();
        assert_eq!(found(&core("dependencies")), 1);
        assert_eq!(found(&core("dev-dependencies")), 0);
        assert_eq!(found("[dependencies]\nfleche-exec.workspace = true\n"), 1);
    }

    #[test]
    fn core_that_names_a_backend_in_code_is_named_and_in_messages_not() {
        let text =
            "//! `fleche_store_file`\nconst A: &str = \"use fleche_store_b as _;\";\nuse fleche_store_file::B;\n";
        let found =
            core_names(&Tree::of(&[("crates/fleche-core/src/a.rs", text), ("crates/fleche-cli/src/a.rs", text)]));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].line, Some(3));
    }

    #[test]
    fn a_version_outside_of_the_table_is_named() {
        let manifest = "[dependencies]\na = \"1\"\nb = { version = \"1\" }\nc.workspace = true\n\
                        d = { workspace = true, features = [] }\n[target.x.dev-dependencies]\ne = { path = \"..\" }\n";
        let found = messages(&versions(&Tree::of(&[("examples/x/Cargo.toml", manifest), ("Cargo.toml", manifest)])));
        for (name, expected) in [("a", true), ("b", true), ("c", false), ("d", false), ("e", true)] {
            assert_eq!(found.contains(&format!("x/Cargo.toml: `{name}`")), expected, "{name}: {found}");
        }
        assert_eq!(found.lines().count(), 3);
    }
}
