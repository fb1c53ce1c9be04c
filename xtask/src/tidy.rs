//! `cargo xtask tidy`: checks layout rules that the compiler does not enforce. Each message says what to do.

mod code;
mod crates;
mod imports;
mod order;
mod phrases;
mod prose;
mod source;
mod tree;

use std::path::Path;

use tree::{Complaint, Tree};

type Rule = fn(&Tree) -> Vec<Complaint>;

/// All rules, each with a name that says what it requires.
const RULES: &[(&str, Rule)] = &[
    ("a .rs file opens with //!", source::opens_with_doc),
    ("no .rs file is long", source::length),
    ("no unfinished code or notes", source::unfinished),
    ("no sleeping", source::sleeps),
    ("poisoned locks are ignored in one place", source::poisoned_locks),
    ("all store crates have the same files", crates::skeleton),
    ("store crates and core do not depend on stores", crates::dependencies),
    ("core names no backend crate", crates::core_names),
    ("dependency versions are in the workspace's table", crates::versions),
    ("published crates include only their own files", crates::included_files),
    ("core's modules import downward", order::downward),
    ("no two files import each other", imports::no_circles),
    ("links in .md files resolve", prose::links),
    ("no phrase that the style rules out", phrases::ruled_out),
];

/// Checks this workspace.
///
/// # Errors
/// Fails with one line for each complaint, or if the workspace cannot be read.
pub(crate) fn run() -> Result<(), String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .ok_or("cannot find the workspace: the xtask crate is in the root directory")?;
    let tree = Tree::read(root).map_err(|error| format!("cannot read {}: {error}", root.display()))?;
    let mut complaints = Vec::new();
    for (name, rule) in RULES {
        for Complaint { path, line, message } in rule(&tree) {
            let line = line.map(|line| format!(":{line}")).unwrap_or_default();
            complaints.push(format!("{path}{line}: {message} [{name}]"));
        }
    }
    if complaints.is_empty() {
        println!("tidy: {} files, {} rules", tree.len(), RULES.len());
        return Ok(());
    }
    Err(format!("{} complaints\n{}", complaints.len(), complaints.join("\n")))
}
