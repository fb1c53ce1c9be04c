//! The rule that core's modules import only from lower modules, in the order that ARCHITECTURE.md states.

use std::collections::BTreeSet;

use super::{
    source::program,
    tree::{Complaint, Tree},
};

const DOCUMENT: &str = "ARCHITECTURE.md";
const SOURCE: &str = "crates/fleche-core/src";
/// The crate's root, and the modules for macros, for documentation and for sibling crates. They may import everything.
const ABOVE_ALL: [&str; 4] = ["lib", "__private", "_cookbook", "spi"];

pub(super) fn downward(tree: &Tree) -> Vec<Complaint> {
    let Some(order) = tree.text(DOCUMENT).and_then(stated) else {
        let cure = "state the order of core's modules, lowest first, in a code block that opens with ```order";
        return vec![Complaint::new(DOCUMENT, None, cure)];
    };
    let modules: BTreeSet<&str> = tree.below(SOURCE).map(|(path, _)| module(path)[0]).collect();
    let modules: Vec<_> = modules.into_iter().filter(|module| !ABOVE_ALL.contains(module)).collect();
    let mut complaints = Vec::new();
    for missing in modules.iter().filter(|module| !order.contains(module)) {
        complaints.push(Complaint::new(DOCUMENT, None, format!("add core's module `{missing}` to the order")));
    }
    for gone in order.iter().filter(|stated| !modules.contains(stated)) {
        complaints.push(Complaint::new(
            DOCUMENT,
            None,
            format!("remove `{gone}` from the order: core has no such module"),
        ));
    }
    let height = |module: &str| order.iter().position(|stated| *stated == module);
    for (path, text) in tree.below(SOURCE) {
        let own = module(path);
        if ABOVE_ALL.contains(&own[0]) {
            continue;
        }
        for Import { line, name } in imports(&own, &program(text)) {
            let complaint = if name.starts_with(char::is_uppercase) {
                format!("`crate::{name}` goes through the crate's root: import it from its module")
            } else if ABOVE_ALL.contains(&&*name) || height(&name) > height(own[0]) {
                format!("`{}` imports `{name}`, which {DOCUMENT} places above it", own[0])
            } else {
                continue;
            };
            complaints.push(Complaint::new(path, line, complaint));
        }
    }
    complaints
}

/// Returns the modules in the document's code block `order`, lowest first, or `None` if there is no such block.
fn stated(document: &str) -> Option<Vec<&str>> {
    let (_, block) = document.split_once("```order\n")?;
    let (block, _) = block.split_once("```")?;
    Some(block.split_whitespace().collect())
}

/// Returns the module path of a file: `["store", "open"]` for `store/open.rs`.
fn module(path: &str) -> Vec<&str> {
    let inside = path.strip_prefix(SOURCE).unwrap_or(path).trim_start_matches('/');
    inside.trim_end_matches(".rs").trim_end_matches("/mod").split('/').collect()
}

/// A name below the crate's root that a file uses.
struct Import {
    line: usize,
    name: String,
}

/// Returns the names that a module uses through `crate::`, or through `super::` paths that lead to the crate's root.
fn imports(module: &[&str], program: &str) -> Vec<Import> {
    let mut imports = Vec::new();
    // The brace depths of the enclosing inline modules.
    let (mut inner, mut depth) = (Vec::new(), 0usize);
    let tokens = tokens(program);
    let text = |at: usize| tokens.get(at).map_or("", |token: &(usize, &str)| token.1);
    for at in 0..tokens.len() {
        match text(at) {
            "{" => {
                depth += 1;
                if at >= 2 && text(at - 2) == "mod" {
                    inner.push(depth);
                }
            }
            "}" => {
                if inner.last() == Some(&depth) {
                    inner.pop();
                }
                depth = depth.saturating_sub(1);
            }
            // `$crate` belongs to the code that calls the macro.
            "crate" if text(at + 1) == "::" && (at == 0 || text(at - 1) != "$") => {
                imports.extend(names(&tokens, at + 2));
            }
            "super" if at == 0 || text(at - 1) != "::" => {
                let mut supers = 0;
                while text(at + 2 * supers) == "super" && text(at + 2 * supers + 1) == "::" {
                    supers += 1;
                }
                if supers == module.len() + inner.len() {
                    imports.extend(names(&tokens, at + 2 * supers));
                }
            }
            _ => {}
        }
    }
    imports
}

/// Returns the name at this token, or the first name of each element if a group opens here.
///
/// Macros do not count, since they are at the crate's root regardless of the module that defines them.
fn names(tokens: &[(usize, &str)], at: usize) -> Vec<Import> {
    let token = |at: usize| tokens.get(at).map_or("", |token| token.1);
    let import = |at: usize| Import { line: tokens[at].0, name: token(at).trim_start_matches("r#").to_owned() };
    if token(at) != "{" {
        let is_name = token(at).starts_with(|char: char| char.is_alphabetic() || char == '_');
        return if is_name && token(at + 1) != "!" { vec![import(at)] } else { vec![] };
    }
    let (mut depth, mut found) = (0usize, Vec::new());
    for at in at..tokens.len() {
        match token(at) {
            "{" => depth += 1,
            "}" if depth <= 1 => break,
            "}" => depth -= 1,
            "self" => {}
            name if depth == 1 && name != "," && matches!(token(at - 1), "{" | ",") => found.push(import(at)),
            _ => {}
        }
    }
    found
}

/// Splits code into names, `::` and single characters, each with its line.
fn tokens(code: &str) -> Vec<(usize, &str)> {
    let in_name = |char: char| char.is_alphanumeric() || char == '_';
    let (mut tokens, mut line, mut at) = (Vec::new(), 1, 0);
    while let Some(first) = code[at..].chars().next() {
        let rest = &code[at..];
        let len = if in_name(first) {
            rest.find(|char| !in_name(char)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        if first == '\n' {
            line += 1;
        } else if !first.is_whitespace() {
            tokens.push((line, &rest[..len]));
        }
        at += len;
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: &str = "# A\n```order\nlow middle\nhigh\n```\n";

    /// Returns the complaints about a core in which this file has this text, and the other modules are empty.
    fn complaints(file: &str, text: &str) -> Vec<(Option<usize>, String)> {
        let file = format!("{SOURCE}/{file}");
        let mut files = vec![(DOCUMENT, ORDER), ("crates/fleche-core/src/lib.rs", "use crate::high;")];
        let others = ["low", "middle", "high"].map(|module| format!("{SOURCE}/{module}.rs"));
        files.extend(others.iter().filter(|other| **other != file).map(|other| (&**other, "")));
        files.push((&file, text));
        downward(&Tree::of(&files)).into_iter().map(|found| (found.line, found.message)).collect()
    }

    #[test]
    fn upward_import_is_found_in_every_syntax() {
        for text in [
            "use crate::high::A;",
            "use crate::{low::B, high::A};",
            "use crate::{\n    low::{self, B},\n    high,\n};",
            "fn a() { crate::high::b() }",
            "use super::high::A;",
            "use super::{low, high::{A, B}};",
            "mod inner { use super::super::high; }",
        ] {
            let found = complaints("middle.rs", text);
            assert!(matches!(&found[..], [(_, why)] if why.contains("`middle` imports `high`")), "{text}: {found:?}");
        }
        assert_eq!(complaints("middle/inner.rs", "use super::super::high;").len(), 1);
        assert_eq!(complaints("middle.rs", "\n\nuse crate::high;")[0].0, Some(3));
    }

    #[test]
    fn imports_from_lower_and_own_modules_are_allowed() {
        for text in [
            "use crate::{low::A, middle::B};",
            "use super::low;",
            "mod inner { use super::high; }",
            "#[cfg(test)]\nmod tests { use crate::high; }",
            "// crate::high\nconst A: &str = \"crate::high\";",
            "macro_rules! a { () => { $crate::high::b() } }",
            "pub(crate) fn high() {}",
            "fn a() { crate::a_macro!() }",
        ] {
            assert_eq!(complaints("middle.rs", text), [], "{text}");
        }
        assert_eq!(complaints("middle/inner.rs", "use super::high;"), []);
    }

    #[test]
    fn import_through_crate_root_is_found() {
        assert!(complaints("middle.rs", "use crate::{Error, low};")[0].1.contains("`crate::Error`"));
        assert_eq!(complaints("middle.rs", "use crate::__private::a;").len(), 1);
    }

    #[test]
    fn order_must_name_exactly_the_modules_of_core() {
        let found = complaints("new.rs", "");
        assert_eq!(found, [(None, "add core's module `new` to the order".to_owned())]);
        let without = Tree::of(&[(DOCUMENT, ORDER), ("crates/fleche-core/src/low.rs", "")]);
        assert_eq!(downward(&without).len(), 2);
        assert!(downward(&Tree::of(&[]))[0].message.contains("```order"));
        assert!(downward(&Tree::of(&[(DOCUMENT, "no block")]))[0].message.contains("```order"));
    }
}
