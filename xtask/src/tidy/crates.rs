//! Rules for crates: their files and their dependencies.

use toml::{Table, Value};

use super::{
    source::{numbered, program},
    tree::{Complaint, Tree},
};

/// How the names of this workspace's crates begin.
const OWN: &str = "fleche-";
const STORES: &str = "fleche-store-";
/// How the names of executors of clusters begin, which use `fleche-exec`.
const EXECUTORS: &str = "fleche-exec-";
const CORE: &str = "crates/fleche-core";
const SKELETON: [&str; 7] = [
    "README.md",
    "src/lib.rs",
    "src/config.rs",
    "src/values.rs",
    "src/calls.rs",
    "src/error.rs",
    "tests/conformance.rs",
];

pub(super) fn skeleton(tree: &Tree) -> Vec<Complaint> {
    let manifests = tree.manifests().map(|(path, _)| path.trim_end_matches("/Cargo.toml"));
    let stores = manifests.filter(|path| path.strip_prefix("crates/").is_some_and(|name| name.starts_with(STORES)));
    stores
        .flat_map(|store| SKELETON.map(|file| format!("{store}/{file}")))
        .filter(|file| tree.text(file).is_none())
        .map(|file| {
            Complaint::new(
                &file,
                None,
                "add this file: all store crates have the same files, so that they are easy to read",
            )
        })
        .collect()
}

pub(super) fn dependencies(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (path, text) in tree.manifests() {
        let directory = path.trim_start_matches("crates/").trim_end_matches("/Cargo.toml");
        for Dependency { name, section, .. } in in_manifest(text) {
            let complaint = if directory.starts_with(STORES) && name.starts_with(STORES) {
                "a store crate must not depend on another store crate: move shared code to core"
            } else if name.starts_with(EXECUTORS)
                && path.starts_with("crates/")
                && directory != "fleche-bench"
                && section != "dev-dependencies"
            {
                "no library depends on an executor of a cluster: programs choose it"
            } else if directory == "fleche-core"
                && (name.starts_with(STORES) || name.starts_with("fleche-exec"))
                && section != "dev-dependencies"
            {
                "core must not depend on a store or an executor"
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
            Complaint::new(path, line, "core must not name a backend or executor crate: they register themselves")
        }));
    }
    complaints
}

pub(super) fn versions(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (path, text) in tree.manifests() {
        if let Err(error) = text.parse::<Table>() {
            complaints.push(Complaint::new(path, None, format!("invalid TOML: {error}")));
        }
        for Dependency { name, section, version } in in_manifest(text) {
            let for_tests = section == "dev-dependencies" && name.starts_with(OWN);
            let (expected, cure) = if for_tests {
                (Version::None, "write `{ path = \"…\" }` without a version, or `cargo package` fails".to_owned())
            } else {
                let cure = format!("write `{name}.workspace = true`; versions belong in the root's Cargo.toml");
                (Version::OfWorkspace, cure)
            };
            if version != expected {
                complaints.push(Complaint::new(path, None, format!("`{name}`: {cure}")));
            }
        }
    }
    complaints
}

/// Requires that the files which published crates include are in their packages.
pub(super) fn included_files(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (manifest, _) in tree.manifests().filter(|(_, text)| !text.contains("publish = false")) {
        let Some(package) = manifest.strip_suffix("/Cargo.toml") else { continue };
        for (path, text) in tree.below(&format!("{package}/src")) {
            let lines: Vec<&str> = text.lines().collect();
            // Packages have no doctests: their development dependencies are left out.
            let for_tests = |line: usize| line > 1 && lines[line - 2].contains("doctest");
            let depth = path[package.len() + 1..].matches('/').count();
            let found = numbered(text).filter(|(line, code)| {
                let included = code.split_once("include_str!(\"").or_else(|| code.split_once("include_bytes!(\""));
                included.is_some_and(|(_, file)| file.starts_with(&"../".repeat(depth + 1))) && !for_tests(*line)
            });
            complaints.extend(found.map(|(line, _)| {
                Complaint::new(path, line, "move the file into the crate's directory, or `cargo package` leaves it out")
            }));
        }
    }
    complaints
}

struct Dependency {
    name: String,
    section: &'static str,
    version: Version,
}

/// Where the version of a dependency is stated.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    OfWorkspace,
    Here,
    /// Nowhere: only a path is.
    None,
}

/// Returns all dependencies, including those for certain targets. Invalid TOML has none.
fn in_manifest(text: &str) -> Vec<Dependency> {
    let manifest: Table = text.parse().unwrap_or_default();
    let targets = manifest.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values);
    let tables: Vec<_> = targets.filter_map(Value::as_table).chain([&manifest]).collect();
    let mut dependencies = Vec::new();
    for table in tables {
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (name, value) in table.get(section).and_then(Value::as_table).into_iter().flatten() {
                let version = if value.get("workspace").and_then(Value::as_bool) == Some(true) {
                    Version::OfWorkspace
                } else if value.get("path").is_some() && value.get("version").is_none() {
                    Version::None
                } else {
                    Version::Here
                };
                // For a renamed dependency, the name of the package counts.
                let name = value.get("package").and_then(Value::as_str).unwrap_or(name).to_owned();
                dependencies.push(Dependency { name, section, version });
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
    fn missing_files_of_a_store_crate_are_found() {
        let tree = Tree::of(&[("crates/fleche-store-x/Cargo.toml", ""), ("crates/fleche-store-x/src/lib.rs", "")]);
        let found = skeleton(&tree);
        assert_eq!(found.len(), SKELETON.len() - 1);
        assert!(found.iter().any(|complaint| complaint.path == "crates/fleche-store-x/tests/conformance.rs"));
        assert_eq!(skeleton(&Tree::of(&[("crates/fleche-exec/Cargo.toml", "")])), []);
    }

    #[test]
    fn dependency_between_stores_is_found_in_every_section() {
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
    fn core_may_depend_on_stores_only_for_tests() {
        let core = |section| format!("[{section}]\nfleche-store-b.workspace = true\n");
        let found = |manifest: &str| dependencies(&Tree::of(&[("crates/fleche-core/Cargo.toml", manifest)])).len();
        assert_eq!(found(&core("dependencies")), 1);
        assert_eq!(found(&core("dev-dependencies")), 0);
        assert_eq!(found("[dependencies]\nfleche-exec.workspace = true\n"), 1);
    }

    #[test]
    fn libraries_do_not_depend_on_executors_of_clusters() {
        let manifest = "[dependencies]\nfleche-exec-a.workspace = true\n";
        let found = |path| dependencies(&Tree::of(&[(path, manifest)])).len();
        assert_eq!(found("crates/fleche-remote/Cargo.toml"), 1);
        assert_eq!(found("examples/digits/Cargo.toml"), 0);
        assert_eq!(found("crates/fleche-bench/Cargo.toml"), 0);
    }

    #[test]
    fn backend_named_in_code_of_core_is_found_but_not_in_literals() {
        let text =
            "//! `fleche_store_file`\nconst A: &str = \"use fleche_store_b as _;\";\nuse fleche_store_file::B;\n";
        let found =
            core_names(&Tree::of(&[("crates/fleche-core/src/a.rs", text), ("crates/fleche-cli/src/a.rs", text)]));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].line, Some(3));
    }

    #[test]
    fn version_outside_of_workspace_table_is_found() {
        let manifest = "[dependencies]\na = \"1\"\nb = { version = \"1\" }\nc.workspace = true\n\
                        d = { workspace = true, features = [] }\n[target.x.dev-dependencies]\ne = { path = \"..\" }\n";
        let found = messages(&versions(&Tree::of(&[("examples/x/Cargo.toml", manifest), ("Cargo.toml", manifest)])));
        for (name, expected) in [("a", true), ("b", true), ("c", false), ("d", false), ("e", true)] {
            assert_eq!(found.contains(&format!("x/Cargo.toml: `{name}`")), expected, "{name}: {found}");
        }
        assert_eq!(found.lines().count(), 3);
    }

    #[test]
    fn included_file_outside_of_the_package_is_found_except_for_doctests() {
        let inside = "#![doc = include_str!(\"../a.md\")]\n";
        let outside = "const A: &str = include_str!(\"../../a.md\");\n";
        let tests = "#[cfg(doctest)]\n#[doc = include_str!(\"../../../a.md\")]\nstruct A;\n";
        let crates = [("crates/a/Cargo.toml", ""), ("crates/b/Cargo.toml", "publish = false")];
        let sources = [("crates/a/src/lib.rs", inside), ("crates/a/src/b.rs", outside), ("crates/a/src/c.rs", tests)];
        let nested = [("crates/a/src/d/e.rs", outside), ("crates/b/src/lib.rs", outside)];
        let found = included_files(&Tree::of(&[&crates[..], &sources, &nested].concat()));
        let paths: Vec<_> = found.iter().map(|complaint| &*complaint.path).collect();
        assert_eq!(paths, ["crates/a/src/b.rs"]);
    }

    #[test]
    fn development_dependency_on_a_crate_of_the_workspace_with_a_version_is_found() {
        let manifest = "[dev-dependencies]\nfleche-a.workspace = true\nfleche-b = { path = \"..\" }\n\
                        fleche-c = { path = \"..\", version = \"1\" }\n[dependencies]\nfleche-d.workspace = true\n";
        let found = messages(&versions(&Tree::of(&[("crates/x/Cargo.toml", manifest)])));
        for (name, expected) in [("a", true), ("b", false), ("c", true), ("d", false)] {
            assert_eq!(found.contains(&format!("`fleche-{name}`")), expected, "{name}: {found}");
        }
    }
}
