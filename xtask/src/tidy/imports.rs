//! The rule that no two files of a crate import each other, directly or through others.
//!
//! Names that only `use …::*` brings in are not seen; clippy refuses these imports (`wildcard_imports`).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt::Write as _,
};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{Item, UseTree};

use super::tree::{Complaint, Tree};

/// A path of names: modules, and at its end perhaps an item.
type Names = Vec<String>;

/// A module: a file, or a `mod name { … }` in one.
#[derive(Default)]
struct Module {
    /// The file's path in the workspace.
    file: String,
    /// Names of the items that the module defines.
    items: HashSet<String>,
    /// The paths that the module's `use` declarations import, with the imported names as keys.
    used: HashMap<String, Names>,
    /// The paths in `use …::*` declarations.
    globs: Vec<Names>,
    /// Every path that the module's code mentions, re-exports excluded.
    mentions: Vec<Names>,
}

/// The modules of one crate, by their path from its root.
type Modules = BTreeMap<Names, Module>;

pub(super) fn no_circles(tree: &Tree) -> Vec<Complaint> {
    crates(tree).iter().flat_map(circles).collect()
}

/// Returns the crates of the workspace: libraries and programs, without tests and benchmarks.
fn crates(tree: &Tree) -> Vec<Modules> {
    let sources = tree.with_ending(".rs").filter_map(|(path, text)| Some((path.split_once("/src/")?, path, text)));
    let mut crates = BTreeMap::<Names, Modules>::new();
    for ((root, inside), path, text) in sources {
        let mut names: Names = inside.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        let mut krate = vec![root.to_owned()];
        match &*names {
            [only] if only == "lib" || only == "main" => names.clear(),
            [first, ..] if first == "bin" => {
                krate.extend(names);
                names = vec![];
            }
            _ => {}
        }
        // What cannot be parsed, the compiler reports.
        if let Ok(file) = syn::parse_file(text) {
            add(crates.entry(krate).or_default(), &names, path, file.items);
        }
    }
    crates.into_values().collect()
}

fn add(modules: &mut Modules, names: &[String], file: &str, items: Vec<Item>) {
    let mut inner = Vec::new();
    let module = modules.entry(names.to_vec()).or_default();
    file.clone_into(&mut module.file);
    for item in items {
        if is_test(&item) {
            continue;
        }
        match item {
            Item::Mod(module) => inner.extend(module.content.map(|(_, items)| (module.ident.to_string(), items))),
            Item::Use(item) => {
                let mut found = Vec::new();
                leaves(&item.tree, &mut vec![], &mut found);
                for (name, path) in found {
                    if matches!(item.vis, syn::Visibility::Inherited) {
                        module.mentions.push(path.clone());
                    }
                    match name {
                        Some(name) => drop(module.used.insert(name, path)),
                        None => module.globs.push(path),
                    }
                }
            }
            item => {
                module.items.extend(name(&item));
                paths(item.to_token_stream(), &mut module.mentions);
            }
        }
    }
    for (name, items) in inner {
        add(modules, &[names, &[name]].concat(), file, items);
    }
}

fn is_test(item: &Item) -> bool {
    let attributes = match item {
        Item::Mod(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        _ => return false,
    };
    attributes.iter().any(|attribute| attribute.to_token_stream().to_string().replace(' ', "").contains("cfg(test"))
}

fn name(item: &Item) -> Option<String> {
    Some(match item {
        Item::Const(item) => item.ident.to_string(),
        Item::Enum(item) => item.ident.to_string(),
        Item::Fn(item) => item.sig.ident.to_string(),
        Item::Static(item) => item.ident.to_string(),
        Item::Struct(item) => item.ident.to_string(),
        Item::Trait(item) => item.ident.to_string(),
        Item::Type(item) => item.ident.to_string(),
        Item::Union(item) => item.ident.to_string(),
        _ => return None,
    })
}

/// Appends the paths that a `use` declaration imports to `found`, each with the imported name, or `None` for `*`.
fn leaves(tree: &UseTree, prefix: &mut Names, found: &mut Vec<(Option<String>, Names)>) {
    let with = |prefix: &[String], name: &syn::Ident| {
        let own = (name != "self").then(|| name.to_string());
        prefix.iter().cloned().chain(own).collect::<Names>()
    };
    match tree {
        UseTree::Path(path) => {
            prefix.push(path.ident.to_string());
            leaves(&path.tree, prefix, found);
            prefix.pop();
        }
        UseTree::Name(name) => {
            let path = with(prefix, &name.ident);
            found.push((path.last().cloned(), path));
        }
        UseTree::Rename(rename) => found.push((Some(rename.rename.to_string()), with(prefix, &rename.ident))),
        UseTree::Glob(_) => found.push((None, prefix.clone())),
        UseTree::Group(group) => group.items.iter().for_each(|tree| leaves(tree, prefix, found)),
    }
}

/// Appends the paths of two names and more in this code, and those of `use` declarations within functions, to `found`.
fn paths(code: TokenStream, found: &mut Vec<Names>) {
    let tokens: Vec<TokenTree> = code.into_iter().collect();
    let is_colon = |at: usize| matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == ':');
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Ident(first) => {
                let mut path = vec![first.to_string()];
                while is_colon(at + 1) && is_colon(at + 2) {
                    match tokens.get(at + 3) {
                        Some(TokenTree::Ident(next)) => path.push(next.to_string()),
                        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                            let mut inside = Vec::new();
                            let declaration = format!("use x::{group};");
                            if let Ok(item) = syn::parse_str::<syn::ItemUse>(&declaration) {
                                leaves(&item.tree, &mut vec![], &mut inside);
                            }
                            found.extend(inside.into_iter().map(|(_, names)| [&path[..], &names[1..]].concat()));
                            path.clear();
                        }
                        _ => break,
                    }
                    at += 3;
                }
                if path.len() > 1 {
                    found.push(path);
                }
            }
            TokenTree::Group(group) => paths(group.stream(), found),
            _ => {}
        }
        at += 1;
    }
}

/// Returns the module that defines the item of this path, as written in the module `from`. Returns `None` if the item is in
/// another crate, or is a module.
fn resolve(modules: &Modules, from: &[String], path: &[String], depth: usize) -> Option<Names> {
    let (first, mut rest) = path.split_first()?;
    if depth > 16 {
        return None;
    }
    let mut at = from.to_vec();
    match &**first {
        "crate" => at.clear(),
        "self" => {}
        "super" => drop(at.pop()?),
        _ => rest = path,
    }
    while let Some((name, after)) = rest.split_first() {
        if name == "super" {
            at.pop()?;
            rest = after;
            continue;
        }
        let module = modules.get(&at)?;
        let child = [&at[..], std::slice::from_ref(name)].concat();
        if module.items.contains(name) {
            return Some(at);
        } else if modules.contains_key(&child) {
            at = child;
        } else if let Some(used) = module.used.get(name) {
            // A crate of that name, which the module uses under its own name.
            if used.len() == 1 && used[0] == *name {
                return None;
            }
            return resolve(modules, &at, &[&used[..], after].concat(), depth + 1);
        } else {
            let mut globs = module.globs.iter().filter(|glob| glob[..] != *path);
            return globs.find_map(|glob| resolve(modules, &at, &[&glob[..], rest].concat(), depth + 1));
        }
        rest = after;
    }
    None
}

/// Returns the files that each file imports, with the imported names.
fn imports(modules: &Modules) -> BTreeMap<&str, BTreeMap<&str, BTreeSet<&str>>> {
    let mut imports = BTreeMap::<_, BTreeMap<_, BTreeSet<_>>>::new();
    for (names, module) in modules {
        for path in &module.mentions {
            let Some(target) = resolve(modules, names, path, 0) else { continue };
            let target = &*modules[&target].file;
            if target != module.file {
                let taken = path.last().map_or("", |name| name);
                imports.entry(&*module.file).or_default().entry(target).or_default().insert(taken);
            }
        }
    }
    imports
}

fn circles(modules: &Modules) -> Vec<Complaint> {
    let imports = imports(modules);
    let reached = |from: &str| {
        let (mut reached, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(file) = open.pop() {
            for next in imports.get(file).into_iter().flatten().map(|(next, _)| *next) {
                if reached.insert(next) {
                    open.push(next);
                }
            }
        }
        reached
    };
    let reached: BTreeMap<&str, BTreeSet<&str>> = imports.keys().map(|file| (*file, reached(file))).collect();
    let mut seen = BTreeSet::new();
    let mut complaints = Vec::new();
    for (file, after) in &reached {
        let circle: Vec<&str> =
            after.iter().copied().filter(|other| reached.get(other).is_some_and(|back| back.contains(file))).collect();
        if circle.len() < 2 || !seen.insert(circle.clone()) {
            continue;
        }
        let mut message = format!("{} files import each other:", circle.len());
        for (from, to) in circle.iter().flat_map(|from| imports[from].keys().map(move |to| (*from, *to))) {
            if circle.contains(&to) {
                let names: Vec<_> = imports[from][to].iter().copied().collect();
                write!(message, "\n    {from} -> {to}: {}", names.join(", ")).expect("writing to a string cannot fail");
            }
        }
        complaints.push(Complaint::new(file, None, message));
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(files: &[(&str, &str)]) -> Vec<String> {
        no_circles(&Tree::of(files)).into_iter().map(|complaint| complaint.message).collect()
    }

    #[test]
    fn files_that_import_each_other_are_found_through_modules_and_re_exports() {
        for (a, b) in [
            ("use crate::b::B;\npub struct A(B);", "pub struct B;\nuse super::a::A;"),
            ("use crate::b;\npub fn a() { b::b() }", "pub fn b() { crate::a::a() }"),
            ("use crate::{b::{self, B}};\npub struct A;", "use crate::Other;\npub struct B;"),
            ("pub fn a() { format!(\"{}\", crate::b::B) }", "pub struct B;\nimpl B { fn c() { vec![crate::a::a()] } }"),
        ] {
            let root = "mod a;\nmod b;\npub use a::A as Other;";
            let found = complaints(&[("c/src/lib.rs", root), ("c/src/a.rs", a), ("c/src/b.rs", b)]);
            assert!(found.len() == 1 && found[0].contains("c/src/a.rs -> c/src/b.rs"), "{a} {b}: {found:?}");
        }
    }

    #[test]
    fn cycle_of_three_files_is_one_complaint() {
        let file = |next: &str| format!("pub struct X;\nuse crate::{next}::X as Y;");
        let found = complaints(&[
            ("c/src/lib.rs", ""),
            ("c/src/a.rs", &file("b")),
            ("c/src/b.rs", &file("d")),
            ("c/src/d.rs", &file("a")),
        ]);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("3 files"), "{}", found[0]);
    }

    #[test]
    fn one_way_imports_re_exports_and_tests_are_no_cycles() {
        let parent = "mod child;\npub use child::Child;\npub struct Parent;";
        for child in [
            "use super::Parent;\npub struct Child(Parent);",
            "pub struct Child;\n#[cfg(test)]\nmod tests { use crate::a::Parent; }",
        ] {
            assert_eq!(
                complaints(&[("c/src/lib.rs", "mod a;"), ("c/src/a.rs", parent), ("c/src/a/child.rs", child)]),
                [""; 0]
            );
        }
        let other = "use crate::b::B;\npub struct A;\n#[cfg(test)]\nmod tests {}";
        let test = "pub struct B;\n#[cfg(test)]\nmod tests { use crate::a::A; }";
        assert_eq!(complaints(&[("c/src/lib.rs", ""), ("c/src/a.rs", other), ("c/src/b.rs", test)]), [""; 0]);
    }
}
