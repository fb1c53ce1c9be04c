//! `cargo xtask tidy`: layout rules that the compiler does not know, each with a message that says what to do.

mod code;
mod crates;
mod order;
mod prose;
mod source;
mod tree;

use std::path::Path;

use tree::{Complaint, Tree};

type Rule = fn(&Tree) -> Vec<Complaint>;

/// Every rule, by what it asks for.
const RULES: &[(&str, Rule)] = &[
    ("a .rs file opens with //!", source::opens_with_doc),
    ("no .rs file is long", source::length),
    ("nothing is left to do", source::unfinished),
    ("nothing sleeps", source::sleeps),
    ("a store crate has the files of a store crate", crates::skeleton),
    ("store crates and core do not depend on stores", crates::dependencies),
    ("core names no backend crate", crates::core_names),
    ("versions stand in the workspace's table", crates::versions),
    ("core's modules import downward", order::downward),
    ("links in .md files lead somewhere", prose::links),
];

/// Checks this workspace.
///
/// # Errors
/// Every complaint, a line each.
pub(crate) fn run() -> Result<(), String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("xtask lies in no workspace")?;
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
