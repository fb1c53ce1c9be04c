//! The error for a store's `type` that matches no linked backend.
//!
//! Configurations are read with typetag, which reports such a type as an unknown variant. `named_backend` in `config.rs` passes the
//! message through [`explain`].

use std::path::Path;

use crate::store::{BackendInfo, backends};

/// The layer that exists only with a feature.
const COMPRESSED: &str = "compressed";

/// The types of this repository's stores, words that are easily taken for them, and their crates.
const STORE_CRATES: [(&str, &str); 9] = [
    ("file", "fleche_store_file"),
    ("memory", "fleche_store_memory"),
    ("postgres", "fleche_store_sql"),
    ("postgresql", "fleche_store_sql"),
    ("redb", "fleche_store_redb"),
    ("remote", "fleche_remote"),
    ("sled", "fleche_store_sled"),
    ("sql", "fleche_store_sql"),
    ("sqlite", "fleche_store_sql"),
];

/// Returns serde's message, with an explanation if it is about an unknown type.
pub(super) fn explain(message: &str) -> String {
    match unknown_type(message) {
        Some((unknown, known)) => {
            let before = message.split("unknown variant").next().unwrap_or_default();
            format!(
                "{before}no store of type `{unknown}` is known: {}. Known types: {}",
                cure(unknown, &known),
                list(known)
            )
        }
        None => message.to_owned(),
    }
}

/// Returns the unknown type and the known ones, if the message is about a type.
fn unknown_type(message: &str) -> Option<(&str, Vec<&str>)> {
    let (_, rest) = message.split_once("unknown variant `")?;
    let (unknown, rest) = rest.split_once('`')?;
    // The following lines give the position in the text.
    let known: Vec<_> = rest.lines().next()?.split('`').skip(1).step_by(2).collect();
    // A setting of a store may have variants too; `void` is among the known types of every store.
    known.contains(&"void").then_some((unknown, known))
}

fn cure(unknown: &str, known: &[&str]) -> String {
    if unknown == COMPRESSED && !known.contains(&COMPRESSED) {
        return "it requires the feature `zstd` of fleche-core, which is off".to_owned();
    }
    if let Some(near) = nearest(unknown, known.iter().copied()) {
        return format!("did you mean `{near}`?{LINK}");
    }
    let backends = backends();
    // The name may be that of a backend or of one of its variants: `sql-sqlite`.
    let meant = backends
        .iter()
        .find(|backend| backend.name.split('-').chain([backend.name]).any(|part| nearest(unknown, [part]).is_some()));
    if let Some(example) = meant.and_then(|backend| example(backend)) {
        return format!("did you mean `{example}`?{LINK}");
    }
    let store_crate = nearest(unknown, STORE_CRATES.map(|(name, _)| name))
        .and_then(|near| STORE_CRATES.into_iter().find(|(name, _)| *name == near))
        .map_or("fleche_store_…", |(_, store_crate)| store_crate);
    format!(
        "its store crate is not linked. Add `use {store_crate} as _;` to the program: a crate that is only listed in \
         Cargo.toml is not linked"
    )
}

const LINK: &str = " A store crate that is only listed in Cargo.toml is not linked until the program names it: \
                    `use fleche_store_… as _;`";

/// Returns a configuration of this backend as an inline table of TOML that begins with the type.
fn example(backend: &BackendInfo) -> Option<String> {
    let (values, _) = (backend.scratch)(Path::new("DIRECTORY"));
    let table = toml::Table::try_from(&*values).ok()?;
    let (kind, settings): (Vec<_>, Vec<_>) = table.iter().partition(|(name, _)| *name == "type");
    let settings: Vec<_> = kind.into_iter().chain(settings).map(|(name, value)| format!("{name} = {value}")).collect();
    Some(format!("{{ {} }}", settings.join(", ").replace('\n', " ")))
}

/// Returns the names as text: `` `a`, `b` ``.
pub(crate) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Returns the end of a sentence about an unknown name: the question whether the nearest one is meant, or a full stop.
pub(crate) fn did_you_mean<'a>(text: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    nearest(text, names).map_or_else(|| ".".to_owned(), |near| format!("; did you mean `{near}`?"))
}

/// Returns the name that differs from this one by at most two typing errors, or only by an ending, if there is one.
pub(crate) fn nearest<'a>(text: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let text = text.to_lowercase();
    let distance = |name: &str| {
        let alike = name.len().min(text.len()) >= 4 && (text.starts_with(name) || name.starts_with(&text));
        if alike { 0 } else { edits(&text, name) }
    };
    let near = names.into_iter().map(|name| (distance(name), name)).min()?;
    (near.0 <= 2 && near.0 < near.1.len().min(text.len()) / 2 + 1).then_some(near.1)
}

/// Returns the number of insertions, deletions, substitutions and transpositions of adjacent bytes between the two.
fn edits(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_name_tolerates_typing_errors() {
        let names = ["file", "union", "read-only", "stack", "void"];
        for (text, near) in [
            ("flie", Some("file")),
            ("File", Some("file")),
            ("files", Some("file")),
            ("readonly", Some("read-only")),
            ("rdb", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(text, names), near, "{text}");
        }
    }

    #[test]
    fn unknown_variant_of_a_setting_is_not_reported_as_a_type() {
        let message = "unknown variant `alwys`, expected one of `auto`, `always`, `never`";
        assert_eq!(explain(message), message);
    }
}
